"""Pushing the model that this node trains to the Hugging Face Hub, every so many rounds and at the end.

All of this is called from the main thread and returns at once, save for writing the snapshot and for ``finish``. What
talks to the Hub is a process of its own (``hub_call.py``), whose answer is looked for after each round. Nothing that
goes wrong here ends a run: it is one sentence in the log, and tried again when the next push is due.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from rgym_exp.config.environment import push_token
from rgym_exp.training.history import TrainingHistory
from rgym_exp.training.hub_answer import HubAnswer
from rgym_exp.training.hub_call import HubCall
from rgym_exp.training.hub_names import base_model_on_the_hub, repo_name
from rgym_exp.training.model_card import PEERS_NAMED, CardFacts, TrainedHere, model_card
from rgym_exp.training.push_snapshot import SnapshotError, SnapshotFolder
from rgym_exp.types import RoundReport, round_name

logger = logging.getLogger("rl_swarm.training")

Save = Callable[[Path], None]
"""Writes weights and tokenizer into a folder: ``SwarmTrainer.write_model``."""

_CHECK_SECONDS = 60.0
# An upload that hangs must end one day, and a slow one must not be taken for one that hangs: 250 kB/s are slow.
_PUSH_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 250_000
_TRY_AGAIN = " Training goes on; it is tried again at the next push."


class HubPush:
    """The pushes of one run."""

    def __init__(
        self,
        *,
        token: str,
        environ: Mapping[str, str],
        folder: Path,
        run: TrainedHere,
        frequency: int,
        name_of: Callable[[str], str] = str,
        history: Sequence[RoundReport] = (),
    ) -> None:
        """See ``make``."""
        self._token = token
        self._environ = environ
        self._snapshot = SnapshotFolder(folder)
        self._run = run
        self._frequency = frequency
        self._name_of = name_of
        self._history = TrainingHistory(history)
        self._user = ""
        self._refused = False
        self._owed = False
        self._what_next = _TRY_AGAIN
        self._last_problem = ""
        self._call: HubCall | None = None
        self._asked: Literal["check", "push"] = "check"
        self._step_on_its_way = 0
        self._pushed_step = 0

    @classmethod
    def make(
        cls,
        environ: Mapping[str, str],
        *,
        folder: Path,
        run: TrainedHere,
        frequency: int,
        name_of: Callable[[str], str] = str,
        history: Sequence[RoundReport] = (),
    ) -> HubPush | None:
        """None when there is no token to push with.

        Args:
            environ: HUGGINGFACE_ACCESS_TOKEN, and whatever else the Hub's client reads (HF_ENDPOINT, proxies).
            folder: ``Home.push``.
            frequency: rounds between two pushes; 0: only at the end.
            name_of: a peer's animal name, from its id.
            history: reports of earlier runs, oldest first.
        """
        token = push_token(environ)
        if token is None:
            return None
        return cls(
            token=token,
            environ=environ,
            folder=folder,
            run=run,
            frequency=frequency,
            name_of=name_of,
            history=history,
        )

    def check_in_background(self) -> None:
        """Ask the Hub whose token this is and whether it may write; called once at the start."""
        if self._call is None:
            self._ask({"ask": "check"}, limit_seconds=_CHECK_SECONDS)

    def held_out_before(self, accuracy: float) -> None:
        """The held-out accuracy before the first step, for the model card."""
        self._history.held_out_before = accuracy

    def round_done(self, report: RoundReport, save: Save) -> None:
        """Called after every round; writes and pushes a snapshot when one is due.

        Args:
            save: called at once or never, so the snapshot is of this very round.
        """
        self._history.add(report)
        self.take_answer()
        if self._frequency and report.step % self._frequency == 0:
            if self._call is not None and self._asked == "push":
                logger.debug("The push due after round step %d is left out: one is under way.", report.step)
            else:
                self._owed = True
        if not self._owed or self._refused or self._call is not None:
            return
        if not self._user:
            # The start's question was not answered; the push follows when this one is.
            self._ask({"ask": "check"}, limit_seconds=_CHECK_SECONDS)
            return
        self._owed = False
        self._push(save)

    def finish(self, save: Save, *, wait_seconds: float, announce: Callable[[], None] = lambda: None) -> None:
        """Push what was trained since the last push, and wait for it; called once, after the last round.

        Args:
            wait_seconds: for everything in all. What isn't there by then is told with the command that pushes it.
            announce: called when there is something to wait for.
        """
        if self._refused or (self._call is None and self._nothing_new()):
            return
        announce()
        self._what_next = ""
        deadline = time.monotonic() + wait_seconds

        def is_answered() -> bool:
            return self.take_answer(wait_seconds=max(0.0, deadline - time.monotonic()))

        if not is_answered():
            self._give_up(save, f"no answer within {wait_seconds:.0f} s")
            return
        if not self._user and not self._refused:
            self._ask({"ask": "check"}, limit_seconds=_CHECK_SECONDS)
            is_answered()
        if self._refused or self._nothing_new():
            return
        if not self._user:
            self._give_up(save, self._last_problem or f"no answer within {wait_seconds:.0f} s")
        elif self._push(save) and not is_answered():
            self._end_call()
            self._say_how_to_push(f"no answer within {wait_seconds:.0f} s")

    def take_answer(self, *, wait_seconds: float = 0.0) -> bool:
        """Take in the answer to what was asked last, waiting so long for it; whether nothing is under way any more."""
        answer = self._call.answer(wait_seconds=wait_seconds) if self._call is not None else None
        if answer is not None:
            self._call = None
            if self._asked == "check":
                self._checked(answer)
            else:
                self._pushed(answer)
        return self._call is None

    def close(self) -> None:
        """End what is still under way; harmless when done twice."""
        self._end_call()

    @property
    def repo(self) -> str:
        """``<user>/<name>``; without the user as long as the Hub hasn't told."""
        name = repo_name(self._run.model_name, self._run.animal_name, user=self._user)
        return f"{self._user}/{name}" if self._user else name

    def command(self) -> str:
        """What somebody types to push the snapshot by hand."""
        beside = Path(sys.executable).with_name("hf")
        program = "hf" if shutil.which("hf") or not beside.exists() else str(beside)
        words = [program, "upload", self.repo, str(self._snapshot.folder), "."]
        return 'HF_TOKEN="$HUGGINGFACE_ACCESS_TOKEN" ' + " ".join(shlex.quote(word) for word in words)

    def _nothing_new(self) -> bool:
        return self._history.last is None or self._history.last.step == self._pushed_step

    def _push(self, save: Save) -> bool:
        """Write a snapshot and start its way to the Hub; whether it has started."""
        if not self._write(save):
            return False
        report = self._history.last
        assert report is not None
        self._step_on_its_way = report.step
        return self._ask(
            {"ask": "push", "repo": self.repo, "folder": str(self._snapshot.folder), "message": _message(report)},
            limit_seconds=_PUSH_SECONDS + self._snapshot.size_bytes() / _SLOWEST_BYTES_PER_SECOND,
        )

    def _write(self, save: Save) -> bool:
        base_model = base_model_on_the_hub(self._run.model_name)
        try:
            self._snapshot.write(save, card=model_card(self._card()), base_model=base_model)
        except SnapshotError as error:
            logger.warning("%s%s", error, self._what_next)
            return False
        return True

    def _card(self) -> CardFacts:
        history = self._history
        assert history.last is not None
        return CardFacts(
            repo=self.repo,
            run=self._run,
            step=history.last.step,
            round=history.last.round,
            rounds=history.rounds,
            rounds_with_others=history.rounds_with_others,
            held_out_before=history.held_out_before,
            curve=history.curve(),
            peer_names=[self._name_of(peer) for peer in history.peers(PEERS_NAMED)],
            peer_count=history.peer_count,
        )

    def _ask(self, asked: Mapping[str, object], *, limit_seconds: float) -> bool:
        self._asked = "push" if asked["ask"] == "push" else "check"
        try:
            self._call = HubCall(asked, token=self._token, environ=self._environ, limit_seconds=limit_seconds)
        except OSError as error:
            self._last_problem = str(error)
            logger.warning("No process can be started to reach the Hugging Face Hub (%s).%s", error, self._what_next)
            return False
        return True

    def _checked(self, answer: HubAnswer) -> None:
        if answer.refused:
            self._refused = True
            logger.warning(
                "The Hugging Face Hub doesn't take HUGGINGFACE_ACCESS_TOKEN (%s), so this run pushes nothing; make a "
                "token with the right to write at https://huggingface.co/settings/tokens, or unset the variable.",
                answer.problem,
            )
        elif answer.problem:
            self._owed = False
            self._last_problem = answer.problem
            if self._what_next:  # At the end there is more to say (``_give_up``).
                logger.warning(
                    "The Hugging Face Hub can't be reached (%s), so the model isn't pushed now; check the connection, "
                    "HF_ENDPOINT and the proxy variables.%s",
                    answer.problem, self._what_next,
                )  # fmt: skip
        else:
            self._user = answer.user
            when = f"every {self._frequency} rounds and at the end" if self._frequency else "at the end"
            logger.info("The model is pushed to %s on the Hugging Face Hub, %s.", self.repo, when)

    def _pushed(self, answer: HubAnswer) -> None:
        if answer.problem:
            logger.warning(
                "The model could not be pushed to %s (%s).%s By hand: %s",
                self.repo, answer.problem, self._what_next, self.command(),
            )  # fmt: skip
            return
        self._pushed_step = self._step_on_its_way
        self._snapshot.remove()
        logger.info("The model of step %d was pushed to %s.", self._pushed_step, answer.url)

    def _give_up(self, save: Save, reason: str) -> None:
        """At the end of the run: leave the newest model where somebody can push it from."""
        self._end_call()
        if not self._nothing_new() and self._write(save):
            self._say_how_to_push(reason)

    def _say_how_to_push(self, reason: str) -> None:
        logger.warning(
            "The model was not pushed to the Hugging Face Hub (%s). It is in %s. Push it yourself: %s",
            reason, self._snapshot.folder, self.command(),
        )  # fmt: skip

    def _end_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end()


def _message(report: RoundReport) -> str:
    held_out = "" if report.held_out is None else f", held-out {report.held_out:.3f}"
    return f"Round {round_name(report.number)}, step {report.step}: reward {report.local_reward:.3f}{held_out}"
