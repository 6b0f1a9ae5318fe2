"""Memory that was freed goes back to the system."""

from __future__ import annotations

import psutil
import torch

from rgym_exp.training.heap import return_freed_memory

MIB = 1024 * 1024


def test_memory_freed_between_blocks_in_use_is_given_back() -> None:
    # Below the size that the C library maps by itself, as most tensors of a round are.
    blocks = [torch.ones(24 * 1024, dtype=torch.float32) for _ in range(2000)]
    in_use = blocks[::50]
    process = psutil.Process()
    del blocks
    before = process.memory_info().rss
    return_freed_memory()
    assert before - process.memory_info().rss > 50 * MIB
    assert all(float(block.sum()) == len(block) for block in in_use)
