"""Pushes, with the Hub's real client, to a stand-in that takes them as the Hub does."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hf_xet  # type: ignore[import-untyped]
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.hub_call import HubCall
from rgym_exp.training.hub_push import HubPush
from rgym_exp.training.hub_worker import may_write
from rgym_exp.training.model_card import TrainedHere
from rgym_exp.training.models import with_lora
from rgym_exp.training.provenance import hyperparameters, versions
from rgym_exp.training.trainer import SwarmTrainer
from tests.support.model_hub import TOKEN, ModelHub
from tests.support.round_reports import round_report

REPO = "somebody/tiny-Gensyn-Swarm-quiet_amber_otter"
DEADLINE_SECONDS = 60.0
"""Seconds within which the client answers on the busiest machine."""
IDS = torch.tensor([[72, 101, 108, 108, 111]])

Save = Callable[[Path], None]


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with ModelHub().served() as hub:
        yield hub


@pytest.fixture
def environ(hub: ModelHub, tmp_path: Path) -> dict[str, str]:
    """Uploads by LFS, whose objects the stand-in can look into."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "cache"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HUGGINGFACE_ACCESS_TOKEN": TOKEN,
    }


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "rl_swarm.training")
    return caplog


@pytest.fixture
def make(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., HubPush]]:
    """Makes pushes, which are closed at the end."""
    made: list[HubPush] = []

    def make(*, frequency: int = 2, run: dict[str, Any] | None = None, **changes: str) -> HubPush:
        facts: dict[str, Any] = {
            "model_name": "/models/tiny", "lora": False, "animal_name": "quiet amber otter", "peer_id": "QmMe",
            "network": "local", "swarm_id": "s", "tasks": "starter", "versions": versions(),
            "hyperparameters": hyperparameters(TrainingConfig(), learning_rate=5e-6, max_completion_length=20),
        }  # fmt: skip
        push = HubPush.make(
            {**environ, **changes},
            folder=tmp_path / "push",
            run=TrainedHere(**{**facts, **(run or {})}),
            frequency=frequency,
            name_of=lambda peer: f"friend {peer}",
        )
        assert push is not None
        made.append(push)
        return push

    yield make
    for push in made:
        push.close()


@pytest.fixture
def trainer(make_trainer: Callable[..., SwarmTrainer]) -> SwarmTrainer:
    """A trainer whose model has learned: one step was made."""
    trainer = make_trainer()
    trainer.train()
    return trainer


def write_something(folder: Path) -> None:
    """A model, as far as the way to the Hub is concerned."""
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")


def nothing_is_written(folder: Path) -> None:
    pytest.fail(f"a snapshot was written to {folder}")


def writes(weights: bytes) -> Save:
    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(weights)

    return write


def checked(push: HubPush) -> HubPush:
    push.check_in_background()
    assert push.take_answer(wait_seconds=DEADLINE_SECONDS)
    return push


def played(push: HubPush, *steps: int, save: Save = write_something) -> HubPush:
    """Play these rounds, and wait for whatever that has set going."""
    for step in steps:
        push.round_done(round_report(step), save)
        assert push.take_answer(wait_seconds=DEADLINE_SECONDS)
    return push


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def model_of(trainer: SwarmTrainer) -> Any:
    return trainer.model


def the_models_logits(trainer: SwarmTrainer) -> torch.Tensor:
    """By transformers' own forward pass, in a model that never trained: ours is patched for packed rows."""
    trained = model_of(trainer)
    model = AutoModelForCausalLM.from_pretrained(trained.config.name_or_path, dtype=torch.float32)
    model.load_state_dict(trained.state_dict())
    return logits_of(model.eval())


def said(logged: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in logged.records if record.levelno == level]


@pytest.mark.parametrize("value", [None, "", " ", "None", "none", "N"])
def test_without_a_token_there_is_no_push(tmp_path: Path, value: str | None) -> None:
    environ = {"HF_TOKEN": TOKEN} | ({} if value is None else {"HUGGINGFACE_ACCESS_TOKEN": value})
    run = TrainedHere(model_name="m", lora=False, animal_name="a", peer_id="p", network="n", swarm_id="s", tasks="t")
    assert HubPush.make(environ, folder=tmp_path, run=run, frequency=1) is None


def test_the_start_says_where_the_model_goes(make: Callable[..., HubPush], logged: Any) -> None:
    checked(make(frequency=100))
    assert said(logged, logging.INFO) == [
        f"The model is pushed to {REPO} on the Hugging Face Hub, every 100 rounds and at the end."
    ]


def test_a_pushed_model_gives_the_same_logits(
    hub: ModelHub, make: Callable[..., HubPush], trainer: SwarmTrainer, tiny_model_folder: Path, tmp_path: Path
) -> None:
    played(checked(make(frequency=1)), 1, save=trainer.write_model)
    folder = hub.repositories[REPO].write_to(tmp_path / "downloaded")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits_of(model.eval()), the_models_logits(trainer))
    untrained = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    assert not torch.equal(logits_of(untrained), logits_of(model))
    chat = [{"role": "user", "content": "Hi"}]
    ours = AutoTokenizer.from_pretrained(tiny_model_folder)
    assert AutoTokenizer.from_pretrained(folder).apply_chat_template(chat) == ours.apply_chat_template(chat)


def test_nothing_but_the_model_is_pushed_and_nothing_of_this_machine(
    hub: ModelHub, make: Callable[..., HubPush], trainer: SwarmTrainer, tmp_path: Path
) -> None:
    played(checked(make(frequency=1)), 1, save=trainer.write_model)
    files = hub.repositories[REPO].files
    assert sorted(files) == [
        "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    for private in (TOKEN, str(tmp_path), model_of(trainer).config.name_or_path):
        assert not any(private.encode() in content for content in files.values())
    # Where it was written is free again.
    assert list((tmp_path / "push").iterdir()) == []


def test_under_lora_the_adapter_alone_is_pushed_and_gives_the_same_logits(
    hub: ModelHub,
    make: Callable[..., HubPush],
    make_trainer: Callable[..., SwarmTrainer],
    monkeypatch: pytest.MonkeyPatch,
    tiny_model_folder: Path,
    tmp_path: Path,
) -> None:
    def with_adapter(*arguments: Any, model: Any, **keywords: Any) -> SwarmTrainer:
        return SwarmTrainer(*arguments, model=with_lora(model, rank=4), **keywords)

    trainer = make_trainer(kind=with_adapter, learning_rate=50.0)
    trainer.train()
    run = {"lora": True, "model_name": "friends/tiny"}
    played(checked(make(frequency=1, run=run)), 1, save=trainer.write_model)
    files = hub.repositories[REPO].files
    assert [name for name in files if name.endswith(".safetensors")] == ["adapter_model.safetensors"]
    assert "config.json" not in files
    folder = hub.repositories[REPO].write_to(tmp_path / "downloaded")
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "friends/tiny"
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    untrained = logits_of(base.eval())
    loaded = logits_of(PeftModel.from_pretrained(base, folder).eval())
    assert torch.allclose(loaded, logits_of(model_of(trainer).eval()), atol=1e-5)
    assert not torch.allclose(loaded, untrained, atol=1e-5)
    # Where "friends/tiny" can be found, the adapter needs no more than its own folder.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "friends").mkdir()
    (tmp_path / "friends" / "tiny").symlink_to(tiny_model_folder)
    assert torch.equal(logits_of(AutoPeftModelForCausalLM.from_pretrained(folder).eval()), loaded)


@pytest.mark.timeout(120)
def test_the_cards_code_loads_the_model_and_answers(
    hub: ModelHub, make: Callable[..., HubPush], trainer: SwarmTrainer, tmp_path: Path
) -> None:
    played(checked(make(frequency=1)), 1, save=trainer.write_model)
    hub.repositories[REPO].write_to(tmp_path / REPO)
    code = (tmp_path / REPO / "README.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "use.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


def test_rounds_between_two_pushes_push_nothing(hub: ModelHub, make: Callable[..., HubPush]) -> None:
    played(checked(make(frequency=3)), 1, 2, 3, 4, 5, 6, 7)
    messages = [commit.message for commit in hub.repositories[REPO].commits]
    assert messages == ["Round 103, step 3: reward 0.250", "Round 106, step 6: reward 0.250"]


def test_a_second_push_replaces_weights_and_leaves_what_is_somebody_elses(
    hub: ModelHub, make: Callable[..., HubPush]
) -> None:
    def write_otherwise(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"adapter")

    push = played(checked(make(frequency=1)), 1)
    hub.repositories[REPO].files["evaluation.json"] = b"{}"
    played(push, 2, save=write_otherwise)
    first, second = hub.repositories[REPO].commits
    assert set(first.files) == {"README.md", "config.json", "model.safetensors"}
    assert second.deleted == ("model.safetensors",)
    assert sorted(hub.repositories[REPO].files) == [
        "README.md", "adapter_model.safetensors", "config.json", "evaluation.json",
    ]  # fmt: skip


def test_a_round_never_waits_for_the_hub(hub: ModelHub, make: Callable[..., HubPush], logged: Any) -> None:
    push = checked(make(frequency=1))
    hub.held_back = "/preupload/"
    push.round_done(round_report(1), write_something)
    assert hub.held.wait(DEADLINE_SECONDS)
    written: list[Path] = []
    push.round_done(round_report(2), written.append)
    assert written == []
    assert said(logged, logging.DEBUG)[-1] == "The push due after round step 2 is left out: one is under way."
    hub.released.set()
    assert push.take_answer(wait_seconds=DEADLINE_SECONDS)
    played(push, 3)
    assert [commit.message[:17] for commit in hub.repositories[REPO].commits] == [
        "Round 101, step 1",
        "Round 103, step 3",
    ]


def test_a_push_that_is_due_before_the_hub_has_answered_follows_when_it_has(
    hub: ModelHub, make: Callable[..., HubPush]
) -> None:
    hub.held_back = "whoami"
    push = make(frequency=2)
    push.check_in_background()
    push.round_done(round_report(2), write_something)
    assert hub.held.wait(DEADLINE_SECONDS)
    hub.released.set()
    assert push.take_answer(wait_seconds=DEADLINE_SECONDS)
    played(push, 3)
    assert [commit.message for commit in hub.repositories[REPO].commits] == ["Round 103, step 3: reward 0.250"]


def test_a_token_that_may_not_write_is_told_once_and_ends_all_pushing(
    hub: ModelHub, make: Callable[..., HubPush], logged: Any
) -> None:
    hub.access = {"role": "read"}
    push = played(checked(make(frequency=1)), 1, 2)
    push.finish(write_something, wait_seconds=DEADLINE_SECONDS)
    assert said(logged) == [
        "The Hugging Face Hub doesn't take HUGGINGFACE_ACCESS_TOKEN (the token of somebody may only read), so this run "
        "pushes nothing; make a token with the right to write at https://huggingface.co/settings/tokens, or unset the "
        "variable."
    ]
    assert hub.asked == ["GET /api/whoami-v2"]


def scoped(kind: str, name: str, *rights: str) -> dict[str, Any]:
    return {"entity": {"type": kind, "name": name}, "permissions": list(rights)}


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        ({"global": ["repo.write"]}, True),
        ({"scoped": [scoped("user", "Somebody", "repo.content.read", "repo.write")]}, True),
        ({"scoped": [scoped("model", REPO, "repo.write")]}, True),
        ({"scoped": [scoped("org", "a-lab", "repo.write"), scoped("user", "somebody", "repo.content.read")]}, False),
        ({"scoped": []}, False),
        ({}, False),
    ],
)
def test_a_fine_grained_token_may_write_where_its_rights_say_so(rights: dict[str, Any], may: bool) -> None:
    assert may_write({"role": "fineGrained", "fineGrained": rights}, "somebody") is may


@pytest.mark.parametrize(("role", "may"), [("write", True), ("read", False), ("a new kind", True), (None, True)])
def test_other_tokens_may_write_unless_they_are_for_reading(role: str | None, may: bool) -> None:
    assert may_write({"role": role}, "somebody") is may


def test_a_token_that_the_hub_does_not_know_is_told(make: Callable[..., HubPush], logged: Any) -> None:
    checked(make(HUGGINGFACE_ACCESS_TOKEN="hf_another_0123456789"))
    assert "doesn't take HUGGINGFACE_ACCESS_TOKEN (HTTP 401" in said(logged)[0]
    assert "hf_another" not in logged.text


def test_a_hub_that_is_away_is_asked_again_at_the_next_push(
    hub: ModelHub, make: Callable[..., HubPush], logged: Any
) -> None:
    hub.instead = {"whoami": (503, {"error": "down"})}
    push = played(checked(make(frequency=2)), 1)
    assert said(logged) == [
        "The Hugging Face Hub can't be reached (HTTP 503: down), so the model isn't pushed now; check the connection, "
        "HF_ENDPOINT and the proxy variables. Training goes on; it is tried again at the next push."
    ]
    hub.instead = {}
    played(push, 2, 3)
    assert len(hub.repositories[REPO].commits) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>a captive portal</html>"),
        (200, {"name": None}),
        (200, {"name": "../../etc", "auth": {}}),
        (200, {"name": "somebody", "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": [3]}}}}),
    ],
)
def test_what_no_hub_says_is_taken_for_a_hub_that_is_away(
    hub: ModelHub, make: Callable[..., HubPush], logged: Any, answer: tuple[int, Any]
) -> None:
    hub.instead = {"whoami": answer}
    checked(make())
    assert len(said(logged)) == 1
    assert "can't be reached" in said(logged)[0]


def test_where_nothing_listens_the_end_leaves_the_model_and_the_command(
    make: Callable[..., HubPush], tmp_path: Path, logged: Any
) -> None:
    push = make(frequency=0, HF_ENDPOINT="http://127.0.0.1:9")
    push.round_done(round_report(1), write_something)
    push.finish(write_something, wait_seconds=DEADLINE_SECONDS)
    assert len(said(logged)) == 1
    assert "ConnectError" in said(logged)[0]
    assert (tmp_path / "push" / "model" / "model.safetensors").read_bytes() == b"weights"
    words = shlex.split(said(logged)[0].partition("Push it yourself: ")[2])
    assert Path(words[1]).name == "hf"
    assert words[2:] == ["upload", REPO.partition("/")[2], str(tmp_path / "push" / "model"), "."]


def test_the_command_that_is_told_pushes_the_model(
    hub: ModelHub, make: Callable[..., HubPush], environ: dict[str, str], logged: Any
) -> None:
    hub.instead = {"/preupload/": (400, {"error": "not today"})}
    played(checked(make(frequency=1)), 1)
    (warning,) = said(logged)
    assert warning.startswith(
        f"The model could not be pushed to {REPO} (HTTP 400: not today). Training goes on; it is tried again at the "
        "next push. By hand: HF_TOKEN="
    )
    hub.instead = {}
    hub.access = {"role": "write"}
    command = ["bash", "-c", warning.partition("By hand: ")[2]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    assert hub.repositories[REPO].files["model.safetensors"] == b"weights"


@pytest.mark.parametrize(
    ("part", "answer", "reason"),
    [
        ("POST /api/repos/create", (500, {"error": f"boom {TOKEN}"}), "HTTP 500: boom (hidden)"),
        ("/preupload/", (200, {"files": "many"}), "ValueError: preupload_info is improperly formatted"),
        (
            "PUT /objects",
            (403, {}),
            "RuntimeError: Error while uploading 'model.safetensors' to the Hub: HfHubHTTPError: ",
        ),
        ("/commit/", (412, {"error": "a commit has happened since"}), "HTTP 412: a commit has happened since"),
        ("/commit/", (200, {}), "KeyError"),
    ],
)
def test_a_push_that_fails_is_told_without_the_token_kept_and_tried_again(
    hub: ModelHub, make: Callable[..., HubPush], logged: Any, tmp_path: Path,
    part: str, answer: tuple[int, Any], reason: str,
) -> None:  # fmt: skip
    hub.instead = {part: answer}
    push = played(checked(make(frequency=1)), 1)
    assert len(said(logged)) == 1
    assert f"could not be pushed to {REPO} ({reason}" in said(logged)[0]
    assert TOKEN not in logged.text
    assert (tmp_path / "push" / "model" / "README.md").exists()
    hub.instead = {}
    played(push, 2)
    assert hub.repositories[REPO].commits[-1].message.startswith("Round 102, step 2")
    assert not (tmp_path / "push" / "model").exists()


def test_the_end_pushes_what_was_trained_since_the_last_push(hub: ModelHub, make: Callable[..., HubPush]) -> None:
    announced: list[str] = []
    push = played(checked(make(frequency=2)), 1, 2, 3)
    push.finish(write_something, wait_seconds=DEADLINE_SECONDS, announce=lambda: announced.append("push"))
    assert [commit.message[:17] for commit in hub.repositories[REPO].commits] == [
        "Round 102, step 2",
        "Round 103, step 3",
    ]
    assert announced == ["push"]


def test_with_frequency_zero_only_the_end_pushes(hub: ModelHub, make: Callable[..., HubPush]) -> None:
    push = played(checked(make(frequency=0)), *range(1, 8))
    assert hub.repositories == {}
    push.finish(write_something, wait_seconds=DEADLINE_SECONDS)
    assert len(hub.repositories[REPO].commits) == 1


@pytest.mark.parametrize("steps", [(), (1, 2)])
def test_an_end_with_nothing_new_does_nothing(
    hub: ModelHub, make: Callable[..., HubPush], steps: tuple[int, ...]
) -> None:
    push = played(checked(make(frequency=2)), *steps)
    before = list(hub.asked)
    push.finish(
        nothing_is_written, wait_seconds=DEADLINE_SECONDS, announce=lambda: pytest.fail("there is nothing to wait for")
    )
    assert hub.asked == before


def test_the_end_waits_for_a_push_that_is_under_way(hub: ModelHub, make: Callable[..., HubPush]) -> None:
    push = checked(make(frequency=1))
    hub.held_back = "/preupload/"
    push.round_done(round_report(1), write_something)
    assert hub.held.wait(DEADLINE_SECONDS)
    push.finish(nothing_is_written, wait_seconds=DEADLINE_SECONDS, announce=hub.released.set)
    assert len(hub.repositories[REPO].commits) == 1


def test_a_slow_hub_does_not_hold_up_the_end(
    hub: ModelHub, make: Callable[..., HubPush], tmp_path: Path, logged: Any
) -> None:
    push = played(checked(make(frequency=0)), 1)
    hub.held_back = "/preupload/"
    push.finish(write_something, wait_seconds=2)
    (warning,) = said(logged)
    assert "was not pushed to the Hugging Face Hub (no answer within 2 s). It is in " in warning
    assert f"upload {REPO} {tmp_path / 'push' / 'model'} ." in warning
    assert (tmp_path / "push" / "model" / "model.safetensors").exists()


def test_when_the_push_before_holds_up_the_end_the_newest_model_is_left(
    hub: ModelHub, make: Callable[..., HubPush], tmp_path: Path, logged: Any
) -> None:
    push = checked(make(frequency=1))
    hub.held_back = "/preupload/"
    push.round_done(round_report(1), write_something)
    push.round_done(round_report(2), write_something)
    push.finish(writes(b"newest"), wait_seconds=1)
    assert (tmp_path / "push" / "model" / "model.safetensors").read_bytes() == b"newest"
    assert "Push it yourself" in said(logged)[0]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    hub: ModelHub, make: Callable[..., HubPush], tmp_path: Path, logged: Any
) -> None:
    def fail(folder: Path) -> None:
        write_something(folder)
        raise OSError(28, "No space left on device")

    push = played(checked(make(frequency=1)), 1, save=fail)
    assert "No space left on device. Check that its disk isn't full" in said(logged)[0]
    assert list((tmp_path / "push").iterdir()) == []
    played(push, 2)
    assert len(hub.repositories[REPO].commits) == 1


def test_the_card_tells_the_history_of_the_run(hub: ModelHub, make: Callable[..., HubPush]) -> None:
    push = checked(make(frequency=3))
    push.held_out_before(0.09)
    played(push, 1)
    push.round_done(round_report(2, external_peers=("QmA",), external_groups=4), write_something)
    played(push, 3)
    text = hub.repositories[REPO].files["README.md"].decode()
    assert "after 3 rounds (the swarm's round 103). In 1 of 3 rounds the batch held answers of other peers." in text
    assert "| before | | 0.090 |" in text
    assert "Learned from friend QmA." in text
    assert "`learning_rate=5e-06`" in text and "`trl 1." in text


def test_a_hub_with_xet_storage_gets_the_model_by_xet(make: Callable[..., HubPush], tmp_path: Path) -> None:
    weights = os.urandom(300_000)
    with ModelHub(cas=tmp_path / "cas").served() as hub:
        push = checked(make(frequency=1, HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="0"))
        played(push, 1, save=writes(weights))
        (commit,) = hub.repositories[REPO].commits
    assert set(commit.files) == {"README.md", "model.safetensors"}
    assert not any("/lfs/" in asked for asked in hub.asked)
    # Fetched back by what Xet's own client makes of the same bytes.
    (tmp_path / "same").write_bytes(weights)
    (same,) = hf_xet.hash_files([str(tmp_path / "same")])
    with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{tmp_path / 'cas'}") as group:
        group.start_download_file(hf_xet.XetFileInfo(same.hash, len(weights)), str(tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == weights


def test_a_hub_without_xet_storage_is_told_with_what_helps(make: Callable[..., HubPush], logged: Any) -> None:
    played(checked(make(frequency=1, HF_HUB_DISABLE_XET="0")), 1)
    assert "404 Not Found" in said(logged)[0]
    assert "with HF_HUB_DISABLE_XET=1 the upload does without Xet storage" in said(logged)[0]


def test_a_call_past_its_limit_is_ended(hub: ModelHub, environ: dict[str, str]) -> None:
    hub.held_back = "whoami"
    call = HubCall({"ask": "check"}, token=TOKEN, environ=environ, limit_seconds=1.5)
    answer = call.answer(wait_seconds=DEADLINE_SECONDS)
    assert answer is not None and answer.problem == "no answer within 2 s"


@pytest.mark.parametrize("before_it_is_asked", [False, True])
def test_a_process_that_dies_is_an_answer_too(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, before_it_is_asked: bool
) -> None:
    class DeadAtOnce(subprocess.Popen[str]):
        """A process that we get to when it has died."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.wait()

    if before_it_is_asked:
        monkeypatch.setattr(subprocess, "Popen", DeadAtOnce)
    call = HubCall(
        {"ask": "check"}, token=TOKEN, environ={**environ, "PYTHONHOME": "/nowhere"}, limit_seconds=DEADLINE_SECONDS
    )
    answer = call.answer(wait_seconds=DEADLINE_SECONDS)
    assert answer is not None and "the uploading process ended with exit status 1" in answer.problem


@pytest.mark.timeout(60)
def test_the_process_does_not_outlive_who_asked(hub: ModelHub, environ: dict[str, str]) -> None:
    hub.held_back = "whoami"
    process = subprocess.Popen(
        [sys.executable, "-m", "rgym_exp.training.hub_worker"], env=environ, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ask": "check", "token": TOKEN}).encode() + b"\n")
    process.stdin.flush()
    assert hub.held.wait(DEADLINE_SECONDS)
    process.stdin.close()
    assert process.wait(DEADLINE_SECONDS) == 1


def test_the_token_is_in_no_command_line_and_no_variable_of_the_process(hub: ModelHub, environ: dict[str, str]) -> None:
    hub.held_back = "whoami"
    call = HubCall(
        {"ask": "check"}, token=TOKEN, environ={**environ, "HF_TOKEN": TOKEN}, limit_seconds=DEADLINE_SECONDS
    )
    assert hub.held.wait(DEADLINE_SECONDS)
    running = Path(f"/proc/{call.process_id}")
    if running.exists():  # Linux.
        assert TOKEN.encode() not in (running / "cmdline").read_bytes() + (running / "environ").read_bytes()
    call.end()
    assert not running.exists()
