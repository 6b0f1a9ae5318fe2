"""Lets the market look like one of an earlier version, which lacks some views."""

from __future__ import annotations

import json
from typing import Any, Literal

from rgym_exp.chain.market_contract import MarketContract

_LATER_VIEWS: tuple[tuple[str, list[Any]], ...] = (
    ("payout", [0, "QmA"]),
    ("correctChoice", [0]),
    ("hasGuessed", [0, 0, "QmA"]),
    ("hasClaimed", [0, "QmA"]),
)


def hide_views(rpc: Any, market: MarketContract, answer: Literal["a revert", "nothing"] = "a revert") -> None:
    """Have ``rpc`` (a FaultyRpc) answer calls of the views as a contract without them: by a revert, or, with a fallback
    function, by no content."""
    views = {market.contract.encode_abi(name, arguments)[:10] for name, arguments in _LATER_VIEWS}
    pass_on = rpc.answer

    def earlier(body: bytes) -> bytes | None:
        request = json.loads(body)
        if isinstance(request, list):  # Several questions at once: these views are asked for one by one.
            return pass_on(body)
        asked = json.dumps(request["params"])
        if request["method"] != "eth_call" or not any(f'"{view}' in asked for view in views):
            return pass_on(body)
        said = {"result": "0x"} if answer == "nothing" else {"error": {"code": 3, "message": "execution reverted"}}
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}).encode()

    rpc.answer = earlier
