"""The lists in the lower half of the live view: the last round, peers, transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.text import Text

from rgym_exp.observe.progress import about, amount, counted, ways_words
from rgym_exp.observe.view_state import ViewState

LABEL, FAINT, STRONG, GOOD, WARN, ACCENT = "grey62", "grey50", "bold", "green", "yellow", "cyan"
STATUS_STYLES = {"confirmed": GOOD, "refused": "red", "sent": ACCENT, "waiting": FAINT}
_BEFORE_STATUS = 21
"""Cells of a transaction's line in which it is named."""

NameOf = Callable[[str], str]
"""A peer id's animal name."""


def panels(state: ViewState, width: int, rows: int, name_of: NameOf) -> list[Text]:
    if width >= 110:
        widths = (46, (width - 46) // 2, width - 46 - (width - 46) // 2)
        columns = [_last_round(state, widths[0]), _peers(state, widths[1], rows, name_of), _transactions(state, rows)]
        return _side_by_side(columns, widths, rows)
    left_width = 46 if width >= 80 else 44 if width >= 76 else width
    left = _last_round(state, left_width)
    space = rows - len(left)
    left += [Text(), *_transactions(state, space - 1)] if space >= 4 else _transactions(state, space)
    if left_width == width:
        return left[:rows]
    peers = _peers(state, width - left_width, rows, name_of)
    return _side_by_side([left, peers], (left_width, width - left_width), rows)


def _side_by_side(columns: Sequence[list[Text]], widths: Sequence[int], rows: int) -> list[Text]:
    lines = []
    for row in range(min(rows, max(len(column) for column in columns))):
        line = Text()
        for column, width in zip(columns, widths, strict=True):
            cell = column[row].copy() if row < len(column) else Text()
            cell.truncate(width - 2, overflow="ellipsis")
            line.append_text(cell).append(" " * (width - cell.cell_len))
        lines.append(line)
    return lines


def _last_round(state: ViewState, width: int) -> list[Text]:
    lines = [Text(" Last round", style=STRONG)]
    if not state.reports:
        return [*lines, Text(" none yet", style=FAINT)]
    report = state.reports[-1]
    groups = f"{report.local_groups} local + {report.external_groups} external"
    if report.external_peers:
        groups += f" of {counted(len(report.external_peers), 'peer')}"
    lines.append(_labelled("groups", Text(groups)))
    speed = Text(f"{report.tokens_per_second:,.0f} tokens/s")
    memory = report.peak_memory_bytes / 2**30
    lines.append(_labelled("speed", speed.append(f" · {memory:.1f} GiB", style=LABEL) if memory else speed))
    phases = sorted(report.phase_seconds.items(), key=lambda item: -item[1])
    took = Text(f"{sum(report.phase_seconds.values()):.1f} s")
    for name, seconds in phases:
        part = f" · {name} {seconds:.1f}"
        if seconds >= 0.05 and took.cell_len + len(part) <= width - 11:
            took.append(part, style=LABEL)
    lines.append(_labelled("took", took))
    if (judged := _judged(state, width - 11)) is not None:
        lines.append(judged)
    if report.ways.keys() - {"direct"}:
        lines.append(_labelled("shares", Text(ways_words(report))))
    if report.skipped:
        lines.append(_labelled("skipped", Text(counted(report.skipped, "round"), style=WARN)))
    if state.dropped:
        why = ", ".join(f"{count} {reason}" for reason, count in state.dropped.most_common())
        lines.append(_labelled("dropped", Text(why, style=WARN)))
    return lines


def _judged(state: ViewState, room: int) -> Text | None:
    """The judge's last word and what there is to bet, in at most ``room`` cells where that can be."""
    last, tokens = state.last_judged(), state.bet_tokens()
    bet = None if tokens is None else f"{amount(tokens)} bet tokens"
    if last is None or last.judge_score is None:
        return None if bet is None else _labelled("market", Text(bet))
    score = f"{last.judge_score:.2f} of {last.judge_answers}"
    noun = " answer" if last.judge_answers == 1 else " answers"
    rest = f" · {bet}" if bet else ""
    value = Text(score)
    if len(score + noun + rest) <= room:
        value.append(noun)
    return _labelled("judge", value.append(rest, style=LABEL))


def _peers(state: ViewState, width: int, rows: int, name_of: NameOf) -> list[Text]:
    title = Text("Peers", style=STRONG)
    if state.peers is None and not state.peer_rounds:
        return [title, Text("not in the swarm yet", style=FAINT)]
    here = state.peers or ()
    title.append(f"  {len(here)}" if here else "  nobody else now", style=LABEL if here else FAINT)
    # Those that are here now first, then those of earlier rounds; of each, whom we learnt from most.
    earlier = state.peer_rounds.keys() - set(here)
    known = [*_most_rounds_first(here, state), *_most_rounds_first(earlier, state)]
    if not known:
        return [title]
    title = apart(title, Text("rounds with ", style=FAINT), width - 2)
    room = max(1, rows - 1)
    shown = known if len(known) <= room else known[: max(1, room - 1)]
    lines = [title]
    for peer_id in shown:
        dot = ("○ ", FAINT) if peer_id in earlier else ("● ", GOOD)
        way = Text(f"{state.peer_ways.get(peer_id, '')} ", style=FAINT)
        count = f"{state.peer_rounds[peer_id]:>5} "
        lines.append(apart(Text.assemble(dot, name_of(peer_id)), way.append(count, style=LABEL), width - 2))
    if len(known) > len(shown):
        lines.append(Text(f"  and {len(known) - len(shown)} more", style=FAINT))
    return lines


def _most_rounds_first(peer_ids: Iterable[str], state: ViewState) -> list[str]:
    return sorted(peer_ids, key=lambda peer_id: (-state.peer_rounds[peer_id], peer_id))


def _transactions(state: ViewState, rows: int) -> list[Text]:
    if not state.transactions and not state.waiting:
        return []
    title = Text(" Transactions", style=STRONG)
    if state.waiting:
        title.append(f"  {state.waiting} waiting", style=LABEL)
    lines = [title]
    for row in list(state.transactions)[: max(1, rows - 1)]:
        (what, of_what), (_, _, status, detail) = about(row), row
        line = Text.assemble((f" {what:<7} ", LABEL), f"{of_what} ")
        line.pad_right(max(0, _BEFORE_STATUS - line.cell_len))
        line.append(status, style=STATUS_STYLES.get(status, ""))
        lines.append(line.append(f" {detail}" if detail and status == "refused" else "", style=FAINT))
    return lines


def _labelled(label: str, value: Text) -> Text:
    return Text.assemble((f" {label:<8}", LABEL), value)


def apart(left: Text, right: Text, width: int) -> Text:
    """``left`` at the left edge and ``right`` at the right one; the left gives way where both don't fit."""
    right = right.copy()
    right.truncate(max(0, width // 2), overflow="ellipsis")
    left = left.copy()
    left.truncate(max(0, width - right.cell_len - 1), overflow="ellipsis")
    return left.append(" " * (width - left.cell_len - right.cell_len)).append_text(right)
