"""``rl-swarm plot``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rgym_exp.cli import main
from rgym_exp.commands.plot import labels_of


def home_with_rounds(folder: Path, count: int = 5) -> Path:
    """A home as an older version may have left it: lines with few keys, and one torn by a crash."""
    (folder / "logs").mkdir(parents=True)
    lines = [
        json.dumps({"round": 7 + step, "step": step + 1, "time": 0, "local_reward": 0.1 * step})
        for step in range(count)
    ]
    (folder / "logs" / "metrics.jsonl").write_text("\n".join([*lines, '{"round": 99, "st']))
    return folder


def plot(*arguments: object) -> int:
    return main(["plot", *map(str, arguments)])


def test_without_a_path_this_home_is_plotted_beside_its_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_with_rounds(tmp_path / "otter")
    assert plot("--home", home) == 0
    picture = home / "logs" / "metrics.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"otter (5 rounds): {picture}\n"


def test_a_home_its_logs_folder_and_the_file_are_the_same_run(tmp_path: Path) -> None:
    home = home_with_rounds(tmp_path / "otter")
    pictures = []
    for number, path in enumerate((home, home / "logs", home / "logs" / "metrics.jsonl")):
        output = tmp_path / f"{number}.svg"
        assert plot(path, "--output", output) == 0
        pictures.append(output.read_bytes())
    assert pictures[0].startswith(b"<?xml") and pictures == [pictures[0]] * 3


def test_several_runs_carry_their_labels_or_the_names_of_their_homes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = home_with_rounds(tmp_path / "one"), home_with_rounds(tmp_path / "two", 1)
    assert plot(one, two, "--output", tmp_path / "new" / "both.png") == 0
    assert plot(one, two, "--output", tmp_path / "both.png", "--labels", "G = 8", "G = 16") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"one (5 rounds), two (1 round): {tmp_path / 'new' / 'both.png'}"
    assert said[1] == f"G = 8 (5 rounds), G = 16 (1 round): {tmp_path / 'both.png'}"


def test_homes_of_the_same_name_are_told_apart_by_their_paths() -> None:
    files = [Path("/a/node/logs/metrics.jsonl"), Path("/b/node/logs/metrics.jsonl"), Path("/c/other/metrics.jsonl")]
    assert labels_of(files) == ["/a/node", "/b/node", "other"]


def test_what_cannot_be_plotted_is_a_sentence_and_leaves_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, empty = home_with_rounds(tmp_path / "otter"), tmp_path / "empty"
    empty.mkdir()
    fresh = tmp_path / "fresh" / "metrics.jsonl"
    fresh.parent.mkdir()
    fresh.touch()
    not_a_folder = home / "logs" / "metrics.jsonl" / "picture.png"
    for arguments, said in (
        (["--home", empty], f"There is no metrics.jsonl in {empty}. A run writes it"),
        ([tmp_path / "nowhere"], f"There is no metrics.jsonl in {tmp_path / 'nowhere'}."),
        ([fresh], f"{fresh} holds no finished round yet."),
        ([home, "--output", "run.gif"], "--output run.gif must end in .png or .svg"),
        ([home, home, "--labels", "one"], "There are 2 runs and 1 --labels; give one for each PATH"),
        ([home, "--output", not_a_folder], "The picture can't be written"),
    ):
        assert plot(*arguments) == 1
        assert f"rl-swarm plot: {said}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob("*.gif"))


def test_neither_help_nor_a_plot_needs_a_display_or_anything_heavy(tmp_path: Path) -> None:
    home = home_with_rounds(tmp_path / "otter")
    program = """
import sys
from rgym_exp.cli import main
try:
    main(["plot", "--help"])
except SystemExit:
    pass
assert "matplotlib" not in sys.modules and "numpy" not in sys.modules
assert main(["plot", sys.argv[1]]) == 0
heavy = {"matplotlib.pyplot", "tkinter", "torch", "hivemind", "web3", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MPLBACKEND": "TkAgg"}
    ended = subprocess.run(
        [sys.executable, "-c", program, home], env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert (home / "logs" / "metrics.png").exists()
