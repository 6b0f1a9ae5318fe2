"""The check that keeps replaced words away."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_words.py"
OLD = "for" + "eign"


def check(folder: Path, *files: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(SCRIPT), *files], cwd=folder, capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout


def repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def test_a_replaced_word_is_named_with_its_place_and_what_to_say(tmp_path: Path) -> None:
    (repository(tmp_path) / "a.py").write_text(f"x = 1\n{OLD}_groups = 4\n")
    status, said = check(tmp_path, "a.py")
    assert status == 1
    assert said == f"a.py:2: '{OLD}' was replaced by: external\n"


def test_a_file_that_is_called_by_a_replaced_word_is_named(tmp_path: Path) -> None:
    (repository(tmp_path) / f"{OLD}.py").write_text("x = 1\n")
    status, said = check(tmp_path, f"{OLD}.py")
    assert status == 1
    assert re.search(r"its name has .* external", said)


def test_other_words_pass(tmp_path: Path) -> None:
    (repository(tmp_path) / "a.py").write_text("external_groups = 4  # the room for a keyboard\n")
    assert check(tmp_path, "a.py") == (0, "")
