"""A share that is passed on while it still comes in."""

from __future__ import annotations

from rgym_exp.swarm.share_transit import ShareInTransit


async def test_what_is_here_goes_out_in_pieces_that_a_slow_readers_buffer_may_hold() -> None:
    share = ShareInTransit()
    data = bytes(range(256)) * 1024
    share.take(len(data), data)
    pieces = [piece async for piece in share.chunks()]
    assert b"".join(pieces) == data
    assert max(len(piece) for piece in pieces) <= 1 << 16
