"""What to tell clients that are made for another chain: the hub's own has its own id, and no fees.

Clients of the public testnet sign for chain 685685 and pay a fixed gas price. anvil takes a transaction for another
chain and never makes it, and says of a fixed price only that the account is poor.
"""

from __future__ import annotations

_TYPED = range(0x01, 0x05)
"""First bytes of transactions that begin with a type (EIP-2718); a legacy one begins with an RLP list."""


def chain_signed_for(raw: bytes) -> int | None:
    """The chain id that a signed transaction is bound to; None where it has none (before EIP-155) or isn't one."""
    try:
        if raw[0] in _TYPED:
            return int.from_bytes(_first_items(raw[1:], 1)[0], "big")
        # nonce, gasPrice, gas, to, value, data, v, r, s; v = 35 or 36 + 2 x chain id (EIP-155).
        v = int.from_bytes(_first_items(raw, 7)[6], "big")
    except (IndexError, ValueError):
        return None
    return (v - 35) // 2 if v >= 35 else None


def wrong_chain(signed_for: int, chain_id: int) -> str:
    """The sentence for a transaction that is signed for another chain."""
    return (
        f"This transaction is signed for chain {signed_for}, and this is chain {chain_id}: set the client's chain id "
        f"to {chain_id} and its gas price to 0, since this chain has no fees."
    )


def about_fees(message: str) -> str:
    """The chain's error, with what to set where it is about a fee that nobody asks for."""
    if "insufficient funds" not in message.lower():
        return message
    return f"{message}. This chain has no fees, and accounts on it no money: set the client's gas price to 0."


def _first_items(encoded: bytes, count: int) -> list[bytes]:
    """The first ``count`` items of an RLP list, all of them texts. Raises IndexError or ValueError otherwise."""
    if encoded[0] < 0xC0:
        raise ValueError("an RLP list begins with a byte from 0xc0 on")
    at = 1 if encoded[0] <= 0xF7 else 1 + encoded[0] - 0xF7
    items: list[bytes] = []
    while len(items) < count:
        first = encoded[at]
        if first < 0x80:
            begin, length = at, 1
        elif first <= 0xB7:
            begin, length = at + 1, first - 0x80
        elif first < 0xC0:
            begin = at + 1 + first - 0xB7
            length = int.from_bytes(encoded[at + 1 : begin], "big")
        else:
            raise ValueError("a list where a text should be")
        at = begin + length
        if at > len(encoded):
            raise ValueError("it ends within an item")
        items.append(encoded[begin:at])
    return items
