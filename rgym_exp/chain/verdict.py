"""What a refusal of the contract means for the write that was refused.

The contract takes each registration, reward and vote once, so a refusal for "already there" is success: whatever
happened between sending and asking (a crash, a lost answer, a copy of this outbox elsewhere), the write is on chain.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["confirmed", "retry", "refused", "ask owner"]

_VERDICTS: dict[str, Verdict] = {
    "RewardAlreadySubmitted": "confirmed",
    "WinnerAlreadyVoted": "confirmed",
    # Ours or somebody else's? Only the registered owner tells.
    "PeerIdAlreadyRegistered": "ask owner",
    # The endpoint may lag behind the one that told us the round, or the chain was restored from a little earlier.
    "InvalidRoundNumber": "retry",
    "InvalidStageNumber": "retry",
    # The registration may not have arrived yet.
    "InvalidVoterPeerId": "ask owner",
}

_MEANINGS: dict[str, str] = {
    "InvalidRoundNumber": "the contract hasn't reached that round",
    "InvalidStageNumber": "the contract hasn't reached that stage",
    "InvalidVote": "the vote is empty or names a peer twice",
    "InvalidVoterPeerId": "the peer isn't registered to this account",
    "PeerIdAlreadyRegistered": "the peer is registered already",
    "RewardAlreadySubmitted": "this reward is on chain already",
    "WinnerAlreadyVoted": "this vote is on chain already",
}


def verdict(error_name: str) -> Verdict:
    """What to do about a contract error; an unknown one is final, because trying again would meet it again."""
    return _VERDICTS.get(error_name, "refused")


def meaning(error_name: str) -> str:
    """The error with its meaning, e.g. ``InvalidVote: the vote is empty or names a peer twice``."""
    explained = _MEANINGS.get(error_name)
    return f"{error_name}: {explained}" if explained else error_name


def someone_elses_peer(
    peer_id: str, owner: str, account: str, *, way_to_owner: str = "use the account that first registered it"
) -> str:
    """The sentence for a peer that another account registered first."""
    return (
        f"Peer {peer_id} is registered to account {owner}, not to this node's account {account}, and the contract "
        f"keeps the first registration for ever. Either {way_to_owner}, or move swarm.pem away so "
        "that a new peer is made at the next start. Until then, rewards and votes of this peer are refused."
    )
