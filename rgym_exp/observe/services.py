"""Trackers that need a package of their own, imported only when one is asked for."""

from __future__ import annotations

import importlib
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgym_exp.observe.metrics import scalars
from rgym_exp.observe.tracker import JsonLinesTracker, Tracker, TrackerError, Trackers
from rgym_exp.types import RoundReport


class WandbTracker:
    """Weights & Biases: online with a key, otherwise offline under ``logs/wandb`` (``wandb sync`` uploads it later)."""

    def __init__(
        self,
        logs: Path,
        *,
        run_name: str,
        config: Mapping[str, Any],
        project: str = "rl-swarm",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Start a run.

        Raises:
            TrackerError: wandb is not installed, or can't start.
        """
        wandb = _package("wandb", extra="wandb")
        mode = environ.get("WANDB_MODE") or ("online" if _has_wandb_key(environ) else "offline")
        logs.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=project,
                name=run_name,
                config=dict(config),
                dir=str(logs),
                mode=mode,
                # The terminal is ours, and what it shows isn't for upload.
                settings=wandb.Settings(console="off", silent=True),
            )
        except Exception as error:  # wandb raises classes of its own, which differ by version.
            raise TrackerError(
                f"wandb can't start: {error}. Check WANDB_API_KEY, set WANDB_MODE=offline, or leave out"
                " observe.log_with=wandb."
            ) from error

    def log_round(self, report: RoundReport) -> None:
        self._run.log(scalars(report), step=report.step)

    def close(self) -> None:
        self._run.finish()


class TensorBoardTracker:
    """TensorBoard event files in a folder; look at them with ``tensorboard --logdir logs/tensorboard``."""

    def __init__(self, folder: Path) -> None:
        """Open the folder.

        Raises:
            TrackerError: tensorboard is not installed.
        """
        _package("tensorboard", extra="tensorboard")
        self._writer = _package("torch.utils.tensorboard", extra="tensorboard").SummaryWriter(log_dir=str(folder))

    def log_round(self, report: RoundReport) -> None:
        for name, number in scalars(report).items():
            self._writer.add_scalar(name, number, global_step=report.step, walltime=report.time)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def make_tracker(
    log_with: str, *, logs: Path, run_name: str, config: Mapping[str, Any], also: Sequence[Tracker] = ()
) -> Tracker:
    """The JSON lines in ``logs/metrics.jsonl``, and besides them what ``observe.log_with`` says.

    Args:
        log_with: none, wandb or tensorboard.
        run_name: what the run is called in a service, e.g. the peer's name.
        config: the run's configuration as plain values, WITHOUT secrets: it leaves this machine.
        also: trackers of somebody's own.

    Raises:
        TrackerError: the package for ``log_with`` is missing or its service refuses.
    """
    trackers: list[Tracker] = [JsonLinesTracker(logs / "metrics.jsonl"), *also]
    if log_with != "none":
        if log_with == "wandb":
            trackers.append(WandbTracker(logs, run_name=run_name, config=config))
        elif log_with == "tensorboard":
            trackers.append(TensorBoardTracker(logs / "tensorboard"))
        else:
            raise TrackerError(f"observe.log_with must be none, wandb or tensorboard, not {log_with!r}.")
    return Trackers(trackers)


def _package(name: str, *, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TrackerError(
            f"observe.log_with={extra} needs the package {extra}, which is not installed ({error})."
            f" Install it with: pip install 'rl-swarm[{extra}]'"
        ) from error


def _has_wandb_key(environ: Mapping[str, str]) -> bool:
    if environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(environ.get("NETRC")).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
