"""Going on after an out-of-memory error, with half as much at once."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

logger = logging.getLogger("rl_swarm.training")

Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch ran out of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        # The CPU allocator raises a bare RuntimeError with these words.
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def halve_until_it_fits(size: int, run: Callable[[int], Result], what: str) -> tuple[Result, int]:
    """Call ``run(size)``; after an out-of-memory error again with half the size, down to 1.

    Args:
        what: what the size counts, for the log line.

    Returns:
        the result and the size that fitted.
    """
    while True:
        try:
            return run(size), size
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            logger.warning("Out of memory with %d %s at once; going on with %d.", size, what, size // 2)
        # Outside the except block, so that the error's frames no longer hold the tensors.
        size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
