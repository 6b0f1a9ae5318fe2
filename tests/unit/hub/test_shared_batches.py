"""Calls of many clients share their way to the chain, and each gets its own answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rgym_exp.hub.shared_batches import ALONE_AT_ONCE, LARGEST, UNDER_WAY, SharedBatches


class Chain:
    """Answers each call with its parameter, when it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go_on = asyncio.Event()
        self.away = False
        self.forgets: set[Any] = set()
        self.unreadable: Any = None
        """A body with this parameter is refused as a whole,"""
        self.refusal: Any = {"id": None, "error": {"code": -32600, "message": "Invalid request"}}
        """with this, which is raised when it can be."""

    async def forward(self, calls: list[dict[str, Any]]) -> Any:
        self.batches.append([call["method"] for call in calls])
        await self.go_on.wait()
        if self.away:
            raise OSError("The chain is away.")
        if self.unreadable is not None and any(self.unreadable in call["params"] for call in calls):
            if isinstance(self.refusal, Exception):
                raise self.refusal
            return self.refusal
        assert [call["id"] for call in calls] == list(range(len(calls)))
        answers = [{"id": call["id"], "result": call["params"][0]} for call in calls]
        return [answer for answer in reversed(answers) if answer["result"] not in self.forgets]


def call(result: Any, method: str = "eth_chainId", identifier: int = 0) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": [result]}


async def asked(shared: SharedBatches, *results: Any) -> dict[Any, Any]:
    answers = await shared.forward([call(result, identifier=place) for place, result in enumerate(results)])
    return {answer["id"]: answer["result"] for answer in answers}


async def test_a_call_that_comes_alone_leaves_at_once() -> None:
    chain = Chain()
    chain.go_on.set()
    assert await asked(SharedBatches(chain.forward), "a", "b") == {0: "a", 1: "b"}


async def test_what_comes_while_batches_are_under_way_leaves_together_and_each_gets_its_own() -> None:
    chain = Chain()
    shared = SharedBatches(chain.forward)
    asking = []
    for number in range(UNDER_WAY + 10):
        asking.append(asyncio.create_task(asked(shared, number, -number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    chain.go_on.set()
    assert await asyncio.gather(*asking) == [{0: number, 1: -number} for number in range(UNDER_WAY + 10)]
    assert [len(batch) for batch in chain.batches] == [2] * UNDER_WAY + [20]


async def test_a_batch_has_a_largest_size() -> None:
    chain = Chain()
    shared = SharedBatches(chain.forward)
    asking = [asyncio.create_task(asked(shared, number)) for number in range(3 * LARGEST)]
    await asyncio.sleep(0)
    chain.go_on.set()
    await asyncio.gather(*asking)
    assert max(len(batch) for batch in chain.batches) == LARGEST


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas", "eth_getLogs"])
async def test_what_may_take_long_goes_alone(method: str) -> None:
    chain = Chain()
    shared = SharedBatches(chain.forward)
    asking = [asyncio.create_task(shared.forward([call(1, method)])) for _ in range(UNDER_WAY + 2)]
    await asyncio.sleep(0)
    chain.go_on.set()
    await asyncio.gather(*asking)
    assert chain.batches == [[method]] * (UNDER_WAY + 2)


async def test_a_chain_that_is_away_is_told_to_each() -> None:
    chain = Chain()
    chain.away = True
    chain.go_on.set()
    shared = SharedBatches(chain.forward)
    answers = await asyncio.gather(*(asked(shared, number) for number in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 5


@pytest.mark.parametrize("refusal", [{"id": None, "error": {"code": -32600}}, ValueError("not JSON")], ids=type)
async def test_one_client_with_a_call_that_the_chain_cannot_read_spoils_nobody_elses(refusal: Any) -> None:
    chain = Chain()
    chain.unreadable, chain.refusal = "bad", refusal
    shared = SharedBatches(chain.forward)
    asking = []
    for results in [(0,)] * UNDER_WAY + [("a", "b"), ("bad", "c"), ("d",)]:
        asking.append(asyncio.create_task(asked(shared, *results)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    chain.go_on.set()
    *_, before, hostile, after = await asyncio.gather(*asking, return_exceptions=True)
    assert (before, after) == ({0: "a", 1: "b"}, {0: "d"})
    assert hostile == {} or isinstance(hostile, ValueError)


async def test_a_chain_that_is_away_is_not_asked_again_for_each_client() -> None:
    chain = Chain()
    chain.away = True
    shared = SharedBatches(chain.forward)
    asking = []
    for number in range(UNDER_WAY + 5):
        asking.append(asyncio.create_task(asked(shared, number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    chain.go_on.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * (UNDER_WAY + 5)
    assert len(chain.batches) == UNDER_WAY + 1


async def test_a_client_that_went_away_holds_up_nobody_and_a_forgotten_answer_is_missing() -> None:
    chain = Chain()
    chain.forgets = {"b"}
    shared = SharedBatches(chain.forward)
    gone = asyncio.create_task(asked(shared, "x"))
    stays = asyncio.create_task(asked(shared, "a", "b"))
    await asyncio.sleep(0)
    gone.cancel()
    chain.go_on.set()
    assert await stays == {0: "a"}
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_requests_that_may_take_long_wait_here_and_not_at_the_chain() -> None:
    chain = Chain()
    shared = SharedBatches(chain.forward)
    asking = [asyncio.create_task(shared.forward([call(0, "eth_estimateGas")])) for _ in range(5 * ALONE_AT_ONCE)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(chain.batches) == ALONE_AT_ONCE
    chain.go_on.set()
    assert await asyncio.gather(*asking) == [[{"id": 0, "result": 0}]] * len(asking)
