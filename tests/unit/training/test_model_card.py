"""The model card: what it says, and that nobody's words can make it say something else."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from rgym_exp.observe.metrics import before_training
from rgym_exp.training.history import Stretch, TrainingHistory
from rgym_exp.training.hub_names import base_model_on_the_hub, base_model_to_show, is_user_name, repo_name
from rgym_exp.training.model_card import CardFacts, TrainedHere, model_card
from tests.support.round_reports import round_report

RUN: dict[str, Any] = {
    "model_name": "Qwen/Qwen3-0.6B", "lora": False, "animal_name": "quiet amber otter", "peer_id": "QmMe",
    "network": "invite", "swarm_id": "friends-1", "tasks": "starter", "datasets": ("gcd", "count_bits"),
    "hyperparameters": {"learning_rate": 1e-6, "loss_type": "dapo"}, "versions": {"trl": "1.16.0"},
}  # fmt: skip
FACTS: dict[str, Any] = {
    "repo": "somebody/Qwen3-0.6B-Gensyn-Swarm-quiet_amber_otter", "step": 40, "round": 140, "rounds": 40,
    "rounds_with_others": 30, "held_out_before": 0.09, "peer_names": ("brave teal yak",), "peer_count": 3,
    "curve": (
        Stretch(first_step=1, last_step=20, rewards=20, reward_sum=4.0, held_out=0.2),
        Stretch(first_step=21, last_step=40, rewards=20, reward_sum=6.0, held_out=None),
    ),
}  # fmt: skip


def card(run: dict[str, Any] | None = None, **facts: Any) -> str:
    return model_card(CardFacts(run=TrainedHere(**{**RUN, **(run or {})}), **{**FACTS, **facts}))


def head(text: str) -> dict[str, Any]:
    content = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(content, dict)
    return content


def test_the_head_says_what_the_hub_sorts_models_by() -> None:
    assert head(card()) == {
        "base_model": "Qwen/Qwen3-0.6B",
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rl-swarm", "grpo", "gensyn", "trl", "reasoning-gym", "quiet-amber-otter"],
    }


def test_the_hubs_own_reader_takes_the_card() -> None:
    read = ModelCard(card())
    assert read.data.to_dict()["base_model"] == "Qwen/Qwen3-0.6B"
    assert read.text.lstrip().startswith("# Qwen3-0.6B-Gensyn-Swarm-quiet_amber_otter")


def test_a_licence_is_named_only_where_it_is_known() -> None:
    assert "license" not in head(card())
    bundled = card({"model_name": "SmolLM2-135M-Instruct"})
    assert head(bundled)["license"] == "apache-2.0"
    assert head(bundled)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "4-bit (Q4_1) copy of the base model" in bundled


def test_an_adapter_is_told_as_one() -> None:
    text = card({"lora": True})
    assert (head(text)["library_name"], head(text)["base_model_relation"]) == ("peft", "adapter")
    assert "A low-rank adapter (LoRA) for [`Qwen/Qwen3-0.6B`](https://huggingface.co/Qwen/Qwen3-0.6B)" in text
    assert "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n" in text


def test_it_says_how_long_how_well_and_with_whom() -> None:
    text = card()
    assert "after 40 rounds (the swarm's round 140). In 30 of 40 rounds the batch held answers of other peers." in text
    assert "| before | | 0.090 |\n| 1 to 20 | 0.200 | 0.200 |\n| 21 to 40 | 0.300 |  |\n" in text
    assert "Learned from brave teal yak and 2 more." in text
    assert "tasks `starter` of [reasoning-gym]" in text and "`gcd`, `count_bits`." in text
    assert "`learning_rate=1e-06`, `loss_type=dapo`" in text
    assert "Swarm: `friends-1` on network `invite`; this peer: `QmMe`." in text


def test_who_trained_alone_names_no_others() -> None:
    text = card(rounds_with_others=0, peer_names=(), peer_count=0)
    assert "it has trained by itself" in text
    assert "Learned from" not in text


def test_at_most_twenty_peers_are_named() -> None:
    text = card(peer_names=[f"peer{n} x" for n in range(25)], peer_count=25)
    assert "peer19 x and 5 more." in text
    assert "peer20" not in text


HOSTILE = "x`\n---\nlicense: mit\n---\n# Owned [click](http://thief) <img src=x> | `a` ***b*** {{ c }} ![](http://t)"


def test_words_of_strangers_form_neither_markdown_nor_yaml() -> None:
    told = {"network": HOSTILE, "swarm_id": HOSTILE, "tasks": HOSTILE, "animal_name": HOSTILE, "peer_id": HOSTILE}
    chat = [{"role": "user", "content": "```\n# Owned\n" + HOSTILE}]
    text = card({**told, "datasets": [HOSTILE], "chat": chat}, peer_names=[HOSTILE])
    assert "license" not in head(text)
    assert head(text)["base_model"] == "Qwen/Qwen3-0.6B"
    lines = text.splitlines()
    assert not any(line.startswith(("# Owned", "license", "| `a`")) for line in lines)
    # The head's two, and no more; the code's two fences, and no more.
    assert lines.count("---") == 2
    assert sum(line.startswith("```") for line in lines) == 2
    outside_of_code = "".join(part for n, part in enumerate(text.split("```")[0].split("`")) if n % 2 == 0)
    assert "[click]" not in outside_of_code and "<img" not in outside_of_code
    # Every code mark that is opened is closed on its line.
    assert all(line.count("`") % 2 == 0 for line in lines if not line.startswith(("```", " ")))


@pytest.mark.parametrize("lora", [False, True])
def test_the_code_is_python_and_asks_as_training_did(lora: bool) -> None:
    chat = [
        {"role": "system", "content": 'Reply "briefly" \\ \n```'},
        {"role": "user", "content": "1 + 1? \U0001f9a6\u2028é"},
    ]
    code = card({"lora": lora, "chat": chat}).split("```python\n")[1].split("\n```\n")[0]
    assigned = {node.targets[0].id: node.value for node in ast.parse(code).body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    assert ast.literal_eval(assigned["chat"]) == chat
    assert ast.literal_eval(assigned["repo"]) == FACTS["repo"]


def test_a_folder_of_this_machine_is_not_named(tmp_path: Any) -> None:
    folder = tmp_path / "home" / "secret-project" / "my-model"
    folder.mkdir(parents=True)
    text = card({"model_name": str(folder)})
    assert "base_model" not in head(text)
    assert "`my-model`" in text
    assert "secret-project" not in text


@pytest.mark.parametrize(
    ("model", "user", "name"),
    [
        ("Qwen/Qwen3-0.6B", "me", "Qwen3-0.6B-Gensyn-Swarm-quiet_amber_otter"),
        ("SmolLM2-135M-Instruct", "me", "SmolLM2-135M-Instruct-Gensyn-Swarm-quiet_amber_otter"),
        ("/models/my model (v2)/", "me", "my-model-v2-Gensyn-Swarm-quiet_amber_otter"),
        ("~/--..--", "me", "model-Gensyn-Swarm-quiet_amber_otter"),
        ("a/odd--name..git.", "me", "odd-name.git-Gensyn-Swarm-quiet_amber_otter"),
        ("x/" + "very-long-" * 20, "u" * 42, None),
        ("x/" + "a" * 38 + "-.-" * 9, "u" * 20, None),
        ("模型/模型", "me", "model-Gensyn-Swarm-quiet_amber_otter"),
    ],
)
def test_a_repositorys_name_is_one_that_the_hub_takes(model: str, user: str, name: str | None) -> None:
    made = repo_name(model, "quiet amber otter", user=user)
    validate_repo_id(f"{user}/{made}")
    assert len(f"{user}/{made}") <= 96
    assert made.endswith("-Gensyn-Swarm-quiet_amber_otter")
    assert name is None or made == name


@pytest.mark.parametrize("name", [None, 3, "", "../x", "a/b", "-a", "a--b", "a" * 43, "a b", "a\n"])
def test_what_cannot_be_a_users_name_is_none(name: object) -> None:
    assert not is_user_name(name)


def test_base_models_are_named_as_the_hub_knows_them() -> None:
    assert base_model_on_the_hub("Gensyn/Qwen2.5-0.5B-Instruct") == "Gensyn/Qwen2.5-0.5B-Instruct"
    assert base_model_on_the_hub("gpt2") == "gpt2"
    assert base_model_on_the_hub("/nowhere/a/model") is None
    assert base_model_to_show("/nowhere/a/model") == "model"


def test_a_history_of_any_length_has_at_most_twenty_stretches_and_forgets_no_round() -> None:
    for rounds in (1, 19, 20, 21, 40, 41, 1000):
        history = TrainingHistory()
        for step in range(1, rounds + 1):
            history.add(round_report(step, local_reward=step / rounds))
        curve = history.curve()
        assert len(curve) <= 20
        assert (curve[0].first_step, curve[-1].last_step) == (1, rounds)
        assert all(b.first_step == a.last_step + 1 for a, b in zip(curve, curve[1:], strict=False))
        total = sum(range(1, rounds + 1)) / rounds
        assert sum(stretch.reward_sum for stretch in curve) == pytest.approx(total)
        assert history.rounds == rounds


def test_a_stretch_keeps_its_last_held_out_accuracy() -> None:
    history = TrainingHistory()
    for step in range(1, 41):
        history.add(round_report(step, held_out={10: 0.1, 25: 0.2}.get(step)))
    assert {(s.first_step, s.held_out) for s in history.curve() if s.held_out} == {(9, 0.1), (25, 0.2)}


def test_a_reward_that_is_not_known_counts_for_nothing() -> None:
    history = TrainingHistory()
    history.add(round_report(1, local_reward=math.nan))
    assert history.curve()[0].reward is None
    assert "| 1 |  |  |" in card(curve=history.curve())


def test_peers_are_named_by_how_often_they_were_trained_on() -> None:
    history = TrainingHistory()
    for step, peers in enumerate([("QmA", "QmB"), ("QmB",), ()], start=1):
        history.add(round_report(step, external_peers=peers, external_groups=len(peers)))
    assert history.peers(1) == ["QmB"]
    assert (history.peer_count, history.rounds_with_others) == (2, 2)


def test_a_resumed_run_goes_on_with_the_reports_of_this_model_only() -> None:
    # Another model's rounds; then this one's, whose node crashed after step 5 and went on from the checkpoint of 3.
    steps = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 4, 5]
    history = TrainingHistory([round_report(step, local_reward=n) for n, step in enumerate(steps)])
    history.add(round_report(6, local_reward=100))
    told = [(stretch.first_step, stretch.reward) for stretch in history.curve()]
    assert told == [(1, 7), (2, 8), (3, 9), (4, 12), (5, 13), (6, 100)]


def test_a_resumed_run_knows_how_good_its_model_was_before_training() -> None:
    older, newer = before_training(0.5, time=0.0), before_training(0.07, time=0.0)
    history = TrainingHistory([older, round_report(1), newer, round_report(1), round_report(2)])
    history.add(round_report(3))
    assert (history.held_out_before, history.rounds) == (0.07, 3)
    unmeasured = TrainingHistory([older, round_report(1), round_report(1), round_report(2)])
    unmeasured.add(round_report(3))
    assert unmeasured.held_out_before is None


def test_a_new_model_inherits_no_history() -> None:
    history = TrainingHistory([round_report(step) for step in range(1, 9)])
    history.add(round_report(1))
    assert history.rounds == 1
