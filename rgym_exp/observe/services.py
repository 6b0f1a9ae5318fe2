"""Trackers that need a package of their own, imported only when one is asked for.

What a service gets is the numbers of ``scalars`` and the configuration without secrets: nothing about the machine, its
programs, its files or the command line (an invite is written there).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import netrc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rgym_exp.observe.metrics import scalars
from rgym_exp.observe.tracker import BehindTheRounds, JsonLinesTracker, Tracker, TrackerError, Trackers
from rgym_exp.observe.trackio_process import TrackioProcess
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.observe")

PROJECT = "rl-swarm"
_WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
_WANDB_START_SECONDS = 30.0
_WANDB_FLUSH_SECONDS = 5.0
_WANDB_UPLOAD_SECONDS = 10.0
"""At the end of a run; what is not uploaded by then stays on disk, for ``wandb sync``."""


class WandbTracker:
    """Weights & Biases: online with a key, otherwise offline under ``logs/wandb`` (``wandb sync`` uploads it later)."""

    def __init__(
        self, logs: Path, *, run_name: str, config: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> None:
        """Start a run. Where the service can't be reached, it is kept on disk as if there were no key.

        Raises:
            TrackerError: wandb is not installed, or can't start.
        """
        self._wandb = wandb = _package("wandb", extra="wandb")
        mode = environ.get("WANDB_MODE") or ("online" if _has_wandb_key(environ) else "offline")
        logs.mkdir(parents=True, exist_ok=True)
        run: dict[str, Any] = {
            "project": environ.get("WANDB_PROJECT") or PROJECT,
            "name": run_name,
            "config": dict(config),
            "dir": str(logs),
        }
        try:
            settings = wandb.Settings(
                # The terminal is ours, and what it shows isn't for upload; nor is what wandb finds out by itself.
                console="off",
                silent=True,
                save_code=False,
                disable_git=True,
                x_disable_meta=True,
                x_disable_machine_info=True,  # It would also ask the cloud's metadata service, offline too.
                x_disable_stats=True,
                x_save_requirements=False,
                x_transaction_log_flush_interval=_WANDB_FLUSH_SECONDS,
                init_timeout=float(environ.get("WANDB_INIT_TIMEOUT") or _WANDB_START_SECONDS),
                finish_timeout=_WANDB_UPLOAD_SECONDS,
            )
            self._run = self._start(mode, {**run, "settings": settings})
        except Exception as error:  # wandb raises classes of its own, which differ by version.
            raise TrackerError(
                f"wandb can't start: {' '.join(str(error).split())}. Check WANDB_API_KEY, set WANDB_MODE=offline, or"
                " leave out observe.log_with=wandb."
            ) from error

    def _start(self, mode: str, run: Mapping[str, Any]) -> Any:
        try:
            return self._wandb.init(mode=mode, **run)
        except self._wandb.errors.CommError as error:
            if mode != "online" or isinstance(error, self._wandb.errors.AuthenticationError):
                raise
            logger.warning(
                "wandb's service can't be reached (%s). The run is kept in %s; `wandb sync` uploads it later.",
                str(error).split("\n")[0],
                Path(run["dir"]) / "wandb",
            )
            return self._wandb.init(mode="offline", **run)

    def log_round(self, report: RoundReport) -> None:
        # Without commit it is kept back until the next round, and lost with a node that is killed.
        self._run.log(scalars(report), step=report.step, commit=True)

    def close(self) -> None:
        self._run.finish()
        # finish() may return before the last rounds are on the disk; once wandb's own process has ended, they are.
        self._wandb.teardown()


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


class TrackioTracker:
    """trackio: a database under ``logs/trackio``; elsewhere only where trackio's own variables say so."""

    def __init__(
        self, logs: Path, *, run_name: str, config: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> None:
        """Start a run.

        Raises:
            TrackerError: trackio is not installed, or can't start.
        """
        check_service("trackio")
        folder = Path(environ.get("TRACKIO_DIR") or (logs / "trackio").absolute())
        self._process = TrackioProcess(folder, log=logs / "trackio.log", environ=environ)
        self._process.start(project=PROJECT, run_name=run_name, config=config)
        program = Path(sys.executable).with_name("trackio")
        logger.info("To look at trackio's curves: TRACKIO_DIR='%s' '%s' show --project %s", folder, program, PROJECT)

    def log_round(self, report: RoundReport) -> None:
        self._process.log(scalars(report), step=report.step)

    def close(self) -> None:
        self._process.close()


def make_tracker(
    log_with: str, *, logs: Path, run_name: str, config: Mapping[str, Any], also: Sequence[Tracker] = ()
) -> Tracker:
    """The JSON lines in ``logs/metrics.jsonl``, and besides them what ``observe.log_with`` says.

    Args:
        log_with: none, wandb, tensorboard or trackio.
        run_name: what the run is called in a service, e.g. the peer's name.
        config: the run's configuration as plain values, WITHOUT secrets: it leaves this machine.
        also: trackers of somebody's own.

    Raises:
        TrackerError: the package for ``log_with`` is missing or its service refuses.
    """
    trackers: list[Tracker] = [JsonLinesTracker(logs / "metrics.jsonl"), *also]
    if log_with != "none":
        trackers.append(BehindTheRounds(_service(log_with, logs=logs, run_name=run_name, config=config)))
    return Trackers(trackers)


def check_service(log_with: str) -> None:
    """Look whether the package for ``observe.log_with`` is there; imports nothing, so it takes no time.

    Raises:
        TrackerError: it is not installed.
    """
    if log_with != "none" and importlib.util.find_spec(log_with) is None:
        raise _missing(log_with, f"No module named {log_with!r}")


def _service(log_with: str, *, logs: Path, run_name: str, config: Mapping[str, Any]) -> Tracker:
    match log_with:
        case "wandb":
            return WandbTracker(logs, run_name=run_name, config=config)
        case "tensorboard":
            return TensorBoardTracker(logs / "tensorboard")
        case "trackio":
            return TrackioTracker(logs, run_name=run_name, config=config)
    raise TrackerError(f"observe.log_with must be none, wandb, tensorboard or trackio, not {log_with!r}.")


def _package(name: str, *, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(extra, str(error)) from error


def _missing(extra: str, why: str) -> TrackerError:
    return TrackerError(
        f"observe.log_with={extra} needs the package {extra}, which is not installed ({why})."
        f" Install it with: {sys.executable} -m pip install '{_requirement(extra)}'"
    )


def _requirement(extra: str) -> str:
    """The extra's package with the versions that fit, as this installation declares it."""
    try:
        declared = importlib.metadata.requires("rl-swarm") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    marked = [line.partition(";") for line in declared]
    return next((name.strip() for name, _, marker in marked if f'extra == "{extra}"' in marker), extra)


def _has_wandb_key(environ: Mapping[str, str]) -> bool:
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    own_server = urlsplit(environ.get("WANDB_BASE_URL", "")).hostname
    try:
        known = netrc.netrc(environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(host) for host in ((own_server,) if own_server else _WANDB_HOSTS))
