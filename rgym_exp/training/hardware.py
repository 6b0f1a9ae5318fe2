"""What there is to compute with, and what follows from it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from rgym_exp.errors import SwarmUserError

LARGE_POOL_BYTES = 40 * 1024**3
"""GPU memory from which the large model pool is used."""


class HardwareError(SwarmUserError):
    """The configuration asks for hardware that is not there."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The device that trains."""

    device: str
    """cpu, cuda or mps."""
    name: str
    memory_bytes: int
    """Of the GPU, or of the machine (its container's limit, where that is smaller)."""
    has_bf16: bool
    """Whether bf16 matrix products are done in hardware."""
    sharers: int = 1
    """Processes of this peer on this machine; they share its memory, and each has a GPU to itself."""

    @property
    def is_large(self) -> bool:
        """Whether the large model pool fits."""
        return self.device == "cuda" and self.memory_bytes >= LARGE_POOL_BYTES

    def free_bytes(self) -> int:
        """Memory that is free now for this process."""
        if self.device == "cuda":
            return int(torch.cuda.mem_get_info()[0])
        return min(psutil.virtual_memory().available, self.memory_bytes) // self.sharers


def find_hardware(device: str = "auto", *, sharers: int = 1) -> Hardware:
    """Look at the machine.

    Raises:
        HardwareError: ``device`` names one that PyTorch cannot see.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise HardwareError(
                "training.device is cuda, but PyTorch sees no NVIDIA GPU. Check `nvidia-smi`, or set CPU_ONLY=true "
                "(training.device=cpu)."
            )
        properties = torch.cuda.get_device_properties(0)
        return Hardware(
            device="cuda",
            name=properties.name,
            memory_bytes=properties.total_memory,
            has_bf16=torch.cuda.is_bf16_supported(including_emulation=False),
            sharers=sharers,
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise HardwareError("training.device is mps, but PyTorch sees no Apple GPU on this machine. Set it to cpu.")
    return Hardware(
        device=device,
        name=platform.processor() or platform.machine(),
        memory_bytes=_machine_memory(),
        has_bf16=device == "cpu" and _cpu_has_bf16(),
        sharers=sharers,
    )


def _cpu_has_bf16() -> bool:
    # Without these instructions bf16 on a CPU is emulated, several times slower than fp32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _machine_memory() -> int:
    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(total, int(text))
    return total


def choose_dtype(wanted: str, hardware: Hardware) -> torch.dtype:
    """The compute type: what is asked for, or bf16 where the hardware has it and fp32 elsewhere."""
    if wanted == "auto":
        return torch.bfloat16 if hardware.has_bf16 else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
