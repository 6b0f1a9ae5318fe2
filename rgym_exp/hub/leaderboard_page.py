"""The leaderboard's page: the first rows, as JSON between a hub and those who ask it, and as a plain table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rgym_exp.hub.peer_ids import is_peer_id
from rgym_exp.hub.ranking import Judged, RankedPeer, shown_model
from rgym_exp.swarm.names import animal_name

MAX_PEERS_SHOWN = 500


@dataclass(frozen=True, kw_only=True)
class Page:
    """The first peers of a leaderboard."""

    round: int
    """The swarm's; -1 while the chain hasn't told."""
    peer_count: int
    """All peers of the ledger, shown or not."""
    updated: float
    """Seconds since the rows were put together."""
    trouble: str | None
    """Why they can't be brought up to date just now, or None."""
    peers: tuple[RankedPeer, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plain_table(page: Page) -> str:
    """The page for a terminal of 80 columns, without colours; ends with a newline."""
    return "\n".join(_table_lines(page)) + "\n"


def _table_lines(page: Page) -> Iterator[str]:
    count = "1 peer" if page.peer_count == 1 else f"{page.peer_count} peers"
    yield f"round {page.round}, {count}, {page.updated:.0f} s ago"
    if page.trouble:
        yield f"not up to date: {page.trouble}"
    if page.peers:
        yield _columns("#", "name", "rounds", "part", "reward", "votes", "judged", "tokens")
    for place, peer in enumerate(page.peers, start=1):
        yield _columns(
            str(place),
            peer.name,
            str(peer.rounds),
            f"{peer.participation:.0%}",
            str(peer.reward),
            str(peer.wins),
            accuracy_text(peer.judged),
            tokens_text(peer.bet_tokens),
        )


def _columns(place: str, name: str, rounds: str, part: str, reward: str, votes: str, judged: str, tokens: str) -> str:
    return f"{place:>3} {name:<28} {rounds:>6} {part:>4} {reward:>7} {votes:>5} {judged:>12} {tokens:>7}".rstrip()


def accuracy_text(judged: Judged | None) -> str:
    """Such as "62% 54-70": accuracy and the ends of its interval, in percent; "62% 54-70?" where most questions went
    unanswered."""
    if judged is None:
        return "-"
    return f"{judged.accuracy:.0%} {100 * judged.low:.0f}-{100 * judged.high:.0f}{'?' * judged.is_choosy}"


def tokens_text(tokens: float | None) -> str:
    """Such as "104.2"."""
    return "-" if tokens is None else f"{tokens:.1f}"


def page_from_json(answer: object) -> Page:
    """The page that a hub, perhaps a stranger's, has sent: typed, bounded, names computed anew. Raises ValueError.

    Rows that make no sense are left out.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("peers"), list):
        raise ValueError("it has no list of peers")
    rows = (_row_from_json(entry) for entry in answer["peers"][:MAX_PEERS_SHOWN])
    trouble = answer.get("trouble")
    return Page(
        round=_whole(answer.get("round")),
        peer_count=max(0, _whole(answer.get("peer_count"), default=len(answer["peers"]))),
        updated=_number(answer.get("updated")) or 0.0,
        trouble=trouble[:500] if isinstance(trouble, str) else None,
        peers=tuple(row for row in rows if row is not None),
    )


def _row_from_json(entry: object) -> RankedPeer | None:
    if not isinstance(entry, dict):
        return None
    peer_id, model = entry.get("peer_id"), entry.get("model_name")
    if not is_peer_id(peer_id):
        return None
    return RankedPeer(
        name=animal_name(peer_id),
        peer_id=peer_id,
        rounds=_whole(entry.get("rounds"), default=0),
        participation=min(1.0, max(0.0, _number(entry.get("participation")) or 0.0)),
        reward=_whole(entry.get("reward"), default=0),
        wins=_whole(entry.get("wins"), default=0),
        judged=_judged_from_json(entry.get("judged")),
        bet_tokens=_number(entry.get("bet_tokens")),
        last_round=_whole(entry.get("last_round")),
        model_name=shown_model(model) if isinstance(model, str) else None,
    )


def _judged_from_json(entry: object) -> Judged | None:
    if not isinstance(entry, dict):
        return None
    accuracy, low, high = (_number(entry.get(name)) for name in ("accuracy", "low", "high"))
    answers = _whole(entry.get("answers"), default=0)
    if accuracy is None or low is None or high is None or answers <= 0 or not 0 <= low <= accuracy <= high <= 1:
        return None
    asked = max(answers, _whole(entry.get("asked"), default=answers))
    return Judged(accuracy=accuracy, low=low, high=high, answers=answers, asked=asked)


def _whole(value: object, default: int = -1) -> int:
    """A whole number that JSON keeps exactly, else the default."""
    good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return int(value) if good else default  # type: ignore[call-overload]


def _number(value: object) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if good else None  # type: ignore[arg-type]
