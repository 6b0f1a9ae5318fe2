"""One frame of the live view: from what is known, and the terminal's size, to lines of text.

Everything is laid out by hand in whole lines, so that a frame is exactly as wide and at most as high as the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.text import Text

from rgym_exp.observe.chart import LINE_STYLE, MARK, MARK_STYLE, Curve, chart
from rgym_exp.observe.progress import PHASES, about, amount, counted, ways_words
from rgym_exp.observe.view_state import ViewState
from rgym_exp.types import interim_count, round_name

LABEL, FAINT, STRONG, GOOD, WARN, ACCENT = "grey62", "grey50", "bold", "green", "yellow", "cyan"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
NOTICE_SECONDS = 300.0
WORDS = {
    "start": "starting",
    "wait": "waiting for the next round",
    "generate": "answering this round's problems",
    "score": "scoring the answers",
    "publish": "sharing the answers with the swarm",
    "gather": "gathering other peers' answers",
    "train": "training on local and external groups",
    "record": "recording reward and vote",
    "load model": "loading the model",
    "evaluate": "measuring held-out accuracy",
    "judge": "answering the judge's questions",
    "bet": "betting on the market's question",
    "checkpoint": "writing a checkpoint",
    "leave the swarm": "leaving the swarm: last transactions",
}
STATUS_STYLES = {"confirmed": GOOD, "refused": "red", "sent": ACCENT, "waiting": FAINT}
_BEFORE_STATUS = 21
"""Cells of a transaction's line in which it is named."""

NameOf = Callable[[str], str]


def frame(state: ViewState, *, width: int, height: int, now: float, name_of: NameOf) -> list[Text]:
    """At most ``height`` lines of at most ``width`` cells.

    Args:
        now: monotonic seconds, for the spinner and how long things take.
        name_of: a peer id's animal name.
    """
    head = [*_header(state, width), *_round(state, width, now), Text()]
    foot = _footer(state, width, now)
    room = height - len(head) - len(foot)
    # The chart grows with the terminal, but the lists below it must stay readable.
    panel_rows = min(max(8, room // 3), 14)
    chart_rows = max(3, min(room - panel_rows - 3, 24))
    body = [*_curve(state, width, chart_rows), Text(), *_panels(state, width, panel_rows, name_of)]
    body = body[: max(0, room)]
    # The last frame stays on the normal screen, where nothing has to hold the footer at the bottom.
    filling = [Text() for _ in range(1 if state.closed else room - len(body))]
    lines = [*head, *body, *filling, *foot][:height]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return lines


def _header(state: ViewState, width: int) -> list[Text]:
    run = state.run
    if run is None:
        return [Text(" RL Swarm", style=STRONG), Text("─" * width, style=FAINT)]
    first = _apart(
        Text.assemble(" ", (run.peer_name, f"{STRONG} {ACCENT}")), Text(f"network {run.network} ", style=LABEL), width
    )
    what = " · ".join((run.model_name, run.device, run.dtype, f"tasks {run.tasks}"))
    fits = len(what) + len(run.peer_id) + 4 <= width
    peer_id = run.peer_id if fits else f"{run.peer_id[:6]}…{run.peer_id[-6:]}"
    second = _apart(Text(f" {what}", style=LABEL), Text(f"{peer_id} ", style=FAINT), width)
    return [first, second, Text("─" * width, style=FAINT)]


def _round(state: ViewState, width: int, now: float) -> list[Text]:
    if state.closed:
        played = len(state.reports) - state.rounds_before
        return [Text.assemble(" ■ ", ("stopped", STRONG), f" after {counted(played, 'round')} in this run")]
    spinner = SPINNER[int(now * 8) % len(SPINNER)]
    where = f" round {round_name(state.round)}" if state.round is not None else ""
    doing = WORDS.get(state.phase, state.phase)
    left = Text.assemble(" ", (spinner, ACCENT), (where, STRONG), "  ", doing)
    if state.round is not None and interim_count(state.round) and (state.run is None or state.run.has_hub):
        left.append(" · without the hub, which is away", style=WARN)
    if state.detail:
        left.append(f" · {state.detail}", style=LABEL)
    elapsed = Text(f"{duration(now - state.phase_since)} ", style=STRONG)
    return [_apart(left, elapsed, width), _phases(state)]


def _phases(state: ViewState) -> Text:
    text = Text("   ")
    for phase in PHASES:
        if phase == state.phase:
            text.append(f"◉ {phase}", style=f"{STRONG} {ACCENT}")
        elif phase in state.done_phases:
            text.append("● ", style=GOOD).append(phase, style=LABEL)
        else:
            text.append(f"○ {phase}", style=FAINT)
        text.append("  ")
    return text


def _curve(state: ViewState, width: int, rows: int) -> list[Text]:
    rewards, held_out = state.curve()
    title = Text.assemble((" Reward ", STRONG))
    if rewards:
        title.append(f"{rewards[-1]:.2f}", style=f"{STRONG} {LINE_STYLE}")
        if (gain := _gain(rewards)) is not None:
            arrow, style = ("▲", GOOD) if gain >= 0 else ("▼", WARN)
            title.append(f"  {arrow} {abs(gain):.2f} since the first rounds", style=style)
    if (accuracy := state.last_held_out()) is not None:
        title.append(f"   {MARK} ", style=MARK_STYLE).append(f"held-out {accuracy:.2f}")
    played = counted(state.reports[-1].step, "round") if state.reports else "no round yet"
    lines = [_apart(title, Text(f"{played} ", style=LABEL), width)]
    lines += chart(Curve(rewards=rewards, marks=held_out), width=width - 1, height=rows)
    first, last = [round_name(state.reports[end].number) if state.reports else "" for end in (0, -1)]
    under = f"round {first} ", f" {last}"
    axis = "─" * max(0, width - 9 - len(under[0]) - len(under[1]))
    lines.append(Text(f"      └ {under[0]}{axis}{under[1]}", style=FAINT))
    if not state.reports:
        lines[-1] = Text("      └ the curve begins with the first round", style=FAINT)
    return lines


def _gain(rewards: list[float]) -> float | None:
    few = min(10, len(rewards) // 2)
    return sum(rewards[-few:]) / few - sum(rewards[:few]) / few if few >= 3 else None


def _panels(state: ViewState, width: int, rows: int, name_of: NameOf) -> list[Text]:
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
    if not state.peer_rounds:
        return [title, Text("nobody else yet: training alone", style=FAINT)]
    known = state.peer_rounds.most_common()
    title = _apart(title.append(f"  {len(known)}", style=LABEL), Text("rounds with ", style=FAINT), width - 2)
    room = max(1, rows - 1)
    shown = known if len(known) <= room else known[: max(1, room - 1)]
    now_here = set(state.reports[-1].external_peers) if state.reports else set()
    lines = [title]
    for peer_id, count in shown:
        dot = ("● ", GOOD) if peer_id in now_here else ("○ ", FAINT)
        way = Text(f"{state.peer_ways.get(peer_id, '')} ", style=FAINT)
        lines.append(_apart(Text.assemble(dot, name_of(peer_id)), way.append(f"{count:>5} ", style=LABEL), width - 2))
    if len(known) > len(shown):
        lines.append(Text(f"  and {len(known) - len(shown)} more", style=FAINT))
    return lines


def _transactions(state: ViewState, rows: int) -> list[Text]:
    waiting = state.reports[-1].outbox_depth if state.reports else 0
    if not state.transactions and not waiting:
        return []
    title = Text(" Transactions", style=STRONG)
    if waiting:
        title.append(f"  {waiting} waiting", style=WARN)
    lines = [title]
    for row in list(state.transactions)[: max(1, rows - 1)]:
        (what, of_what), (_, _, status, detail) = about(row), row
        line = Text.assemble((f" {what:<7} ", LABEL), f"{of_what} ")
        line.pad_right(max(0, _BEFORE_STATUS - line.cell_len))
        line.append(status, style=STATUS_STYLES.get(status, ""))
        lines.append(line.append(f" {detail}" if detail and status == "refused" else "", style=FAINT))
    return lines


def _footer(state: ViewState, width: int, now: float) -> list[Text]:
    log = f" {state.run.log_file}" if state.run else ""
    # The page goes first, for the log's path gives way where the terminal is narrow.
    places = f" {state.page} ·{log}" if state.page and not state.closed else log
    keys = (
        "stopped" if state.closed else "finishing (again: end at once)" if state.closing else "Ctrl-C: finish cleanly"
    )
    up = f"up {duration(now - state.started_at)}"
    last = _apart(Text(places, style=FAINT), Text(f"{up} · {keys} ", style=FAINT), width)
    if state.notice and now - state.notice_at < NOTICE_SECONDS:
        ago = duration(now - state.notice_at)
        return [Text(f" ! {state.notice} ({ago} ago)", style=WARN), last]
    return [last]


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 07 min."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _labelled(label: str, value: Text) -> Text:
    return Text.assemble((f" {label:<8}", LABEL), value)


def _apart(left: Text, right: Text, width: int) -> Text:
    """``left`` at the left edge and ``right`` at the right one; the left gives way where both don't fit."""
    right = right.copy()
    right.truncate(max(0, width // 2), overflow="ellipsis")
    left = left.copy()
    left.truncate(max(0, width - right.cell_len - 1), overflow="ellipsis")
    return left.append(" " * (width - left.cell_len - right.cell_len)).append_text(right)


def plain(lines: Iterable[Text]) -> str:
    """The frame without colours."""
    return "\n".join(line.plain.rstrip() for line in lines)
