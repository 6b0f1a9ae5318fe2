"""Whether a model can be had, asked of a stand-in for the model hub."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from rgym_exp.base.ports import free_port
from rgym_exp.errors import ModelError
from rgym_exp.training.model_place import check_model_place
from tests.support.serving import serving

REPOSITORY = Path(__file__).parents[3]


@contextmanager
def model_hub(status: int, code: str = "") -> Iterator[str]:
    """A hub that answers everything alike; gives its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with serving(Answer, released=threading.Event()) as address:
        yield address


def asked_of(hub: str, cache: Path) -> str:
    """What is said of somebody/model where the hub is at this address, which its client reads when it is imported."""
    program = (
        "from rgym_exp.training.model_place import check_model_place\n"
        "try: check_model_place('somebody/model')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "else: print('fine')"
    )
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environ = {**kept, "PYTHONPATH": str(REPOSITORY), "HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ, cwd=cache
    )
    return answer.stdout.strip()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (200, "", "fine"),
        (404, "RepoNotFound", "knows no such model, or it is private"),
        (401, "RepoNotFound", "knows no such model, or it is private"),
        (401, "", "does not let this HF_TOKEN have it"),
        (403, "GatedRepo", "it is gated, and HF_TOKEN is not set or not admitted"),
        # Whether it can be loaded without this file, only loading can tell.
        (404, "EntryNotFound", "fine"),
        # A hub in trouble may be well again when the model is fetched.
        (503, "", "fine"),
        (429, "", "fine"),
    ],
)
def test_what_the_hub_says_of_a_model(status: int, code: str, said: str, tmp_path: Path) -> None:
    with model_hub(status, code) as hub:
        assert said in asked_of(hub, tmp_path)


def test_a_hub_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    hub = f"http://127.0.0.1:{free_port()}"
    shown = asked_of(hub, tmp_path)
    assert shown.startswith("ModelError The model somebody/model could not be loaded")
    assert f"{hub} can't be reached" in shown


def test_a_model_that_was_fetched_before_needs_no_hub(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "models--somebody--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (folder / "snapshots" / ("0" * 40) / "config.json").write_text("{}")
    assert asked_of(f"http://127.0.0.1:{free_port()}", tmp_path) == "fine"


def test_a_folder_with_a_model_is_fine(tiny_model_folder: Path) -> None:
    check_model_place(str(tiny_model_folder))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="There is no folder"):
        check_model_place(str(tmp_path / "model.gguf"))
