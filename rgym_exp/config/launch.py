"""Several processes as one peer: what ``accelerate launch`` and ``torchrun`` tell each process about its place."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from rgym_exp.errors import ConfigError

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_UNSUPPORTED = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A process's place among those that a launcher started as one peer."""

    rank: int
    """0 is the node; the others help it with sampling and gradients."""
    size: int
    """Processes in all, at least 2."""
    local_size: int
    """Processes on this machine."""


def take_launch(environ: MutableMapping[str, str]) -> Launch | None:
    """This process's place; None when it is the only one. Call it before torch is imported.

    What says so is taken out of the environment: accelerate, TRL and vLLM would each divide the work among the
    processes in their own way, while here rank 0 alone decides who does what (``training/helpers.py``). For the same
    reason the process sees only its own GPU afterwards: with several, transformers would split every batch over them.

    Raises:
        ConfigError: the launcher was told to shard the model.
    """
    for variable, name in _UNSUPPORTED.items():
        if environ.get(variable, "").strip().lower() in ("1", "true"):
            raise ConfigError(
                f"{name} is not supported: every process holds the whole model. Launch without it, e.g. "
                "`accelerate launch --multi_gpu --num_processes 2 -m rgym_exp.cli run`."
            )
    rank, size, local_rank, local_size = (
        int(environ.pop(name, "") or default) for name, default in zip(_PLACE, (0, 1, 0, 1), strict=True)
    )
    if environ.get("ACCELERATE_USE_CPU", "").strip().lower() in ("1", "true"):
        # `accelerate launch --cpu`, in our own words.
        environ.setdefault("CPU_ONLY", "true")
    for name in [name for name in environ if name.startswith("ACCELERATE_")]:
        # Precision and the like are said by the configuration alone.
        del environ[name]
    _see_one_gpu(environ, local_rank)
    return Launch(rank=rank, size=size, local_size=local_size) if size > 1 else None


def _see_one_gpu(environ: MutableMapping[str, str], local_rank: int) -> None:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        environ["CUDA_VISIBLE_DEVICES"] = str(local_rank)
        return
    devices = [device.strip() for device in visible.split(",") if device.strip()]
    if devices and devices[0] != "-1":
        # None left for this process: training on a GPU will say so, and a CPU needs none.
        environ["CUDA_VISIBLE_DEVICES"] = devices[local_rank] if local_rank < len(devices) else "-1"
