"""What a refusal of the contract means for the write that was refused.

The contracts take each registration, reward, vote, bet and claim once, so a refusal for "already there" is success,
whatever happened between sending and asking (a crash, a lost answer, a copy of this outbox elsewhere): the write is on
chain. But only for the peer's own account. The public contract looks whether something is there before it looks whose
peer it is, and a stranger's peer has its owner's writes there.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["retry", "refused", "ask owner"]

_ALREADY_THERE = frozenset(
    {
        "PeerIdAlreadyRegistered",
        "RewardAlreadySubmitted",
        "WinnerAlreadyVoted",
        "AlreadyGuessed",
        "AlreadyClaimed",
        # A lost game: there is no transaction to be had, and nothing left to do.
        "NothingToClaim",
    }
)

_VERDICTS: dict[str, Verdict] = {
    # Ours or somebody else's? Only the registered owner tells.
    **dict.fromkeys(_ALREADY_THERE, "ask owner"),
    # The endpoint may lag behind the one that told us the round, or the chain was restored from a little earlier.
    "InvalidRoundNumber": "retry",
    "InvalidStageNumber": "retry",
    # The registration may not have arrived yet.
    "InvalidVoterPeerId": "ask owner",
    "NotPeerOwner": "ask owner",
    # Every other refusal of a bet is final: its clue passes, and a late bet would be one on another clue. A claim that
    # comes too early (GameStillOpen) is for the player to owe once more.
}

_MEANINGS: dict[str, str] = {
    "InvalidRoundNumber": "the contract hasn't reached that round",
    "InvalidStageNumber": "the contract hasn't reached that stage",
    "InvalidVote": "the vote is empty or names a peer twice",
    "InvalidVoterPeerId": "the peer isn't registered to this account",
    "PeerIdAlreadyRegistered": "the peer is registered already",
    "RewardAlreadySubmitted": "this reward is on chain already",
    "WinnerAlreadyVoted": "this vote is on chain already",
    "NotPeerOwner": "the peer isn't registered to this account",
    "GameNotFound": "the market has no such game",
    "GameNotOpen": "the game was over before the bet arrived",
    "GameStillOpen": "the game isn't over yet, so nothing can be claimed",
    "InvalidRound": "the clue was over before the bet arrived",
    "InvalidChoice": "the game has no such choice",
    "InvalidBet": "the stake is too small to buy anything",
    "InsufficientBalance": "the stake is more than the peer has",
    "AlreadyGuessed": "this bet is on chain already",
    "AlreadyClaimed": "this claim is on chain already",
    "NothingToClaim": "nothing to claim: the peer has no bets in this game, or none on its answer",
}


def verdict(error_name: str) -> Verdict:
    """What to do about a contract error; an unknown one is final, because trying again would meet it again."""
    return _VERDICTS.get(error_name, "refused")


def is_settled_for_owner(error_name: str) -> bool:
    """Whether a refusal with the verdict "ask owner" means, for the peer's own account, that all is done."""
    return error_name in _ALREADY_THERE


def meaning(error_name: str) -> str:
    """The error with its meaning, e.g. ``InvalidVote: the vote is empty or names a peer twice``."""
    explained = _MEANINGS.get(error_name)
    return f"{error_name}: {explained}" if explained else error_name


def settled_detail(error_name: str) -> str:
    """What to note about a write of the peer's own account that a refusal has settled (``is_settled_for_owner``)."""
    return _MEANINGS["NothingToClaim"] if error_name == "NothingToClaim" else "was on chain already"


def someone_elses_peer(
    peer_id: str, owner: str, account: str, *, way_to_owner: str = "use the account that first registered it"
) -> str:
    """The sentence for a peer that another account registered first."""
    return (
        f"Peer {peer_id} is registered to account {owner}, not to this node's account {account}, and the contract "
        f"keeps the first registration for ever. Either {way_to_owner}, or move swarm.pem away so "
        "that a new peer is made at the next start. Until then, this peer's rewards, votes and bets are refused."
    )
