"""All checks, in four parts side by side: static, web, python, image. `./run_tests.sh` calls this.

Usage: python scripts/checks.py [--one-by-one] [--plan] [PART...]

A part's commands run one after the other, with their output in logs/checks/PART.log. A line is printed when a command
ends; the output of what failed, and of pytest, at the end: pytest's closing line is the last one.

The image's part takes minutes, so it looks at what changed since the commit in the variable BASE: if nothing that the
image is made of did, it is left out, or, when the package did, asked only what the package can break in it. Without
BASE it is the last commit whose whole run passed here. With ALL=1, or where no base is known, everything runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "logs" / "checks"
PASSED = Path(os.environ.get("CHECKS_CACHE", LOGS)) / "passed"
"""Holds the last commit whose whole run passed."""
MYPY_CACHE = Path(os.environ["CHECKS_CACHE"]) / "mypy" if "CHECKS_CACHE" in os.environ else ROOT / ".mypy_cache"
PARTS = ("static", "web", "python", "image")
SAID_LAST = ("image", "python")
"""What pytest says closes a run."""

SHELL_SCRIPTS = ("run_rl_swarm.sh", "run_tests.sh", ".ci/run", "scripts/*.sh", "docker/*.sh", "tests/docker/run")
IMAGE_IS_MADE_OF = (
    *("Dockerfile", ".dockerignore", "docker", "docker-compose.yaml", "run_rl_swarm.sh", "scripts/environment.sh"),
    *("constraints.txt", "pyproject.toml", "contracts/package-lock.json", "modal-login/package-lock.json"),
    *("modal-login/next.config.ts", "modal-login/scripts", "tests/docker", "tests/support/containers.py"),
)
ASKED_OF_THE_PACKAGE = (
    *("tests/docker/test_folders.py", "tests/docker/test_stop_and_resume.py", "tests/docker/test_terminal.py"),
    "tests/docker/test_swarm_of_containers.py::test_a_node_that_finishes_rounds_is_healthy",
)
"""Entrypoint, stop and health."""

PYTEST_WORKERS = 4
"""Twice as many as two cores: tests wait for processes, rounds and the disk half of the time."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a part."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Part:
    """Commands that run one after the other, beside the other parts."""

    name: str
    steps: tuple[Step, ...]
    after: Part | None = None
    """The part that must be over before, and must have passed unless ``needs_it`` says otherwise."""
    needs_it: bool = True
    failure: str = ""
    """Which step failed, as a sentence."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> Path:
        """The output of its steps."""
        return LOGS / f"{self.name}.log"

    def run(self) -> None:
        """Run the steps until one fails; when it is over, ``failure`` says how it went."""
        try:
            if self.after is not None:
                self.after.over.wait()
                if self.after.failure and self.needs_it:
                    self.failure = f"{self.name}: not run, since {self.after.name} failed"
                    return
            with self.log.open("wb") as log:
                for step in self.steps:
                    self._run(step, log.fileno())
                    if self.failure:
                        return
        except OSError as error:
            self.failure = f"{self.name}: {error}"
        finally:
            self.over.set()

    def _run(self, step: Step, log: int) -> None:
        began = time.monotonic()
        environ = {**os.environ, **step.environ}
        status = subprocess.call(
            step.command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        ending = "" if status == 0 else f"  FAILED ({status})"
        print(f"  {self.name:<8}{step.name:<48} {time.monotonic() - began:5.0f} s{ending}", flush=True)
        if status != 0:
            self.failure = f"{self.name}: '{step.name}' failed: {' '.join(step.command)}"


def all_parts(wanted: Sequence[str], image_tests: Sequence[str] | None) -> list[Part]:
    """The wanted parts, and what they need. ``image_tests``: of tests/docker; None for none."""
    servers = Part(name="servers", steps=tuple(_servers()))
    python = (sys.executable, "-m")
    workers = ("-n", str(PYTEST_WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
    tests = Part(
        name="python",
        after=servers,
        steps=(
            Step(
                name="pytest",
                command=(*python, "pytest", *workers, "-rs", "--durations=10"),
                # Several workers with as many threads each would only get in each other's way.
                environ={"OMP_NUM_THREADS": "1"},
            ),
        ),
    )
    web = Part(
        name="web",
        after=servers,
        steps=(
            Step(name="biome, tsc", command=("npm", "--prefix", "modal-login", "run", "check")),
            Step(name="vitest", command=("npm", "--prefix", "modal-login", "test")),
        ),
    )
    image = Part(
        name="image",
        # Not beside the package's tests: two cores have enough with those and the web app's.
        after=tests if "python" in wanted else None,
        needs_it=False,
        steps=(Step(name="pytest tests/docker", command=("tests/docker/run", "--durations=10", *(image_tests or ()))),),
    )
    chosen = [
        part
        for part in (Part(name="static", steps=tuple(_static())), web, tests, image)
        if part.name in wanted and (part is not image or image_tests is not None)
    ]
    return [*([servers] if any(part.after is servers for part in chosen) else []), *chosen]


def _static() -> Iterator[Step]:
    yield Step(name="ruff check", command=("ruff", "check", "."))
    yield Step(name="ruff format --check", command=("ruff", "format", "--check", "."))
    yield Step(name="words", command=(sys.executable, "scripts/check_words.py"))
    scripts = sorted(str(path.relative_to(ROOT)) for pattern in SHELL_SCRIPTS for path in ROOT.glob(pattern))
    if any((Path(folder) / "shellcheck").exists() for folder in os.get_exec_path()):
        yield Step(name="shellcheck", command=("shellcheck", "-x", *scripts))
    yield Step(name="mypy", command=("mypy", f"--cache-dir={MYPY_CACHE}"))


def _servers() -> Iterator[Step]:
    """The local chain's program, and the web app as it is delivered: tests of both languages run them."""
    for folder in ("contracts", "modal-login"):
        yield Step(name=f"packages of {folder}/", command=(sys.executable, "scripts/packages.py", folder))
    build = ("npm", "--prefix", "modal-login", "run", "build")
    yield Step(name="npm run build", command=build, environ={"NEXT_TELEMETRY_DISABLED": "1"})


def image_tests() -> tuple[list[str] | None, str]:
    """Which tests of the image to run (None: none, []: all), and why."""
    if os.environ.get("ALL") == "1":
        return [], "all of them, as ALL=1 says"
    base = os.environ.get("BASE") or (PASSED.read_text().strip() if PASSED.exists() else "")
    if not base:
        return [], "all of them: no BASE is named, and no whole run has passed here"
    if _git("merge-base", "--is-ancestor", base, "HEAD") is None:
        return [], f"all of them: {base} is no commit before this one"
    changed = f"since {base[:12]}"
    if _changed(base, IMAGE_IS_MADE_OF):
        return [], f"all of them: what the image is made of changed {changed}"
    if _changed(base, ("rgym_exp",)):
        return list(ASKED_OF_THE_PACKAGE), f"entrypoint, stop and health: the package changed {changed}"
    return None, f"none: neither the package nor what only the image is made of changed {changed}"


def _changed(base: str, paths: Sequence[str]) -> bool:
    return bool(_git("diff", "--name-only", base, "--", *paths)) or bool(
        _git("ls-files", "--others", "--exclude-standard", "--", *paths)
    )


def _git(*arguments: str) -> str | None:
    """What git says; None when it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def run(parts: Sequence[Part], *, one_by_one: bool) -> None:
    """Run them; each knows afterwards whether it failed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    threads = [threading.Thread(target=part.run, name=part.name) for part in parts]
    for thread in threads:
        thread.start()
        if one_by_one:
            thread.join()
    for thread in threads:
        thread.join()


def report(parts: Sequence[Part]) -> bool:
    """Print what failed, and pytest's words last; whether all passed."""
    failed = [part for part in parts if part.failure]
    for part in failed:
        if part.name not in SAID_LAST:
            print(f"\n===== {part.name}\n{_said(part)}")
    print(*(part.failure for part in failed), sep="\n")
    for part in sorted((part for part in parts if part.name in SAID_LAST), key=lambda part: SAID_LAST.index(part.name)):
        print(f"\n===== {part.name}")
        print(_said(part) if part.failure else essence(_said(part)), end="", flush=True)
    return not failed


def _said(part: Part) -> str:
    return part.log.read_text(errors="replace") if part.log.exists() else ""


def essence(said: str) -> str:
    """Of pytest's output: what was left out and why, what was slowest, and the closing line."""
    lines = said.splitlines(keepends=True)
    slowest = [number for number, line in enumerate(lines) if "slowest" in line]
    left_out = [line for line in lines if line.startswith("SKIPPED")]
    return "".join([*left_out, *(lines[slowest[-1] :] if slowest else lines[-1:])])


def main() -> int:
    """0 when every part that ran passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--one-by-one", action="store_true", help="one part after the other")
    parser.add_argument("--plan", action="store_true", help="say what would run, and stop")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    wanted = [part for part in PARTS if part in (arguments.parts or PARTS)]
    tests, why = image_tests() if "image" in wanted else (None, "")
    if why:
        print(f"Tests of the image: {why}.", flush=True)
    parts = all_parts(wanted, tests)
    if arguments.plan:
        print(*(f"{part.name:<8}{' '.join(step.command)}" for part in parts for step in part.steps), sep="\n")
        return 0
    began = time.monotonic()
    run(parts, one_by_one=arguments.one_by_one)
    print(f"  all parts{'':<47} {time.monotonic() - began:5.0f} s", flush=True)
    if not report(parts):
        return 1
    if wanted == list(PARTS) and not _git("status", "--porcelain"):
        PASSED.parent.mkdir(parents=True, exist_ok=True)
        PASSED.write_text(f"{_git('rev-parse', 'HEAD')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
