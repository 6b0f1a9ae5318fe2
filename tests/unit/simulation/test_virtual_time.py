"""A loop whose clock jumps."""

from __future__ import annotations

import asyncio

import pytest

from simulation.virtual_time import VirtualTimeLoop, run_virtually


def test_an_hour_passes_at_once_and_in_the_right_order() -> None:
    happened: list[tuple[str, float]] = []

    async def main(loop: VirtualTimeLoop) -> float:
        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            happened.append((name, loop.time()))

        await asyncio.gather(after(3600.0, "late"), after(1.5, "early"))
        return loop.time()

    assert run_virtually(main) == pytest.approx(3600.0)
    assert [name for name, _ in happened] == ["early", "late"]


def test_what_would_run_in_a_thread_runs_here_and_its_error_is_raised() -> None:
    def fail() -> None:
        raise OSError("away")

    async def main(_: VirtualTimeLoop) -> int:
        with pytest.raises(OSError, match="away"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(lambda: 7)

    assert run_virtually(main) == 7


def test_waiting_for_what_can_never_happen_is_said_instead_of_hanging() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits for somebody else"):
        run_virtually(main)
