"""One frame of the live view: from what is known, and the terminal's size, to lines of text.

Everything is laid out by hand in whole lines, so that a frame is exactly as wide and at most as high as the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from rgym_exp.observe.chart import LINE_STYLE, MARK, MARK_STYLE, Curve, chart
from rgym_exp.observe.panels import ACCENT, FAINT, GOOD, LABEL, STRONG, WARN, NameOf, apart, panels
from rgym_exp.observe.progress import PHASES, counted
from rgym_exp.observe.view_state import ViewState
from rgym_exp.types import interim_count, round_name

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_NOTICES_SHOWN = 2
WORDS = {
    "start": "starting",
    "wait": "waiting for the next round",
    "generate": "answering this round's problems",
    "score": "scoring the answers",
    "publish": "sharing the answers with the swarm",
    "gather": "gathering other peers' answers",
    "train": "training",
    "record": "recording reward and vote",
    "load model": "loading the model",
    "evaluate": "measuring held-out accuracy",
    "judge": "answering the judge's questions",
    "bet": "betting on the market's question",
    "checkpoint": "writing a checkpoint",
    "leave the swarm": "leaving the swarm: last transactions",
}


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
    body = [*_curve(state, width, chart_rows), Text(), *panels(state, width, panel_rows, name_of)]
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
    first = apart(
        Text.assemble(" ", (run.peer_name, f"{STRONG} {ACCENT}")), Text(f"network {run.network} ", style=LABEL), width
    )
    what = " · ".join((run.model_name, run.device, run.dtype, f"tasks {run.tasks}"))
    fits = len(what) + len(run.peer_id) + 4 <= width
    peer_id = run.peer_id if fits else f"{run.peer_id[:6]}…{run.peer_id[-6:]}"
    second = apart(Text(f" {what}", style=LABEL), Text(f"{peer_id} ", style=FAINT), width)
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
        # What it trains on belongs to the sentence.
        left.append(f"{' ' if state.phase == 'train' else ' · '}{state.detail}", style=LABEL)
    elapsed = Text(f"{duration(now - state.phase_since)} ", style=STRONG)
    return [apart(left, elapsed, width), _phases(state)]


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
            title.append(*_gain_words(gain))
    if (accuracy := state.last_held_out()) is not None:
        title.append(f"   {MARK} ", style=MARK_STYLE).append(f"held-out {accuracy:.2f}")
    played = counted(state.reports[-1].step, "round") if state.reports else "no round yet"
    if state.last_step is not None:
        played = f"{state.reports[-1].step} of {counted(state.last_step, 'round')}"
        if (left := state.seconds_left()) is not None and not state.closed:
            played += f", about {duration(left)} left"
    lines = [apart(title, Text(f"{played} ", style=LABEL), width)]
    lines += chart(Curve(rewards=rewards, marks=held_out), width=width - 1, height=rows)
    first, last = [round_name(state.reports[end].number) if state.reports else "" for end in (0, -1)]
    under = f"round {first} ", f" {last}"
    axis = "─" * max(0, width - 9 - len(under[0]) - len(under[1]))
    lines.append(Text(f"      └ {under[0]}{axis}{under[1]}", style=FAINT))
    if not state.reports:
        lines[-1] = Text("      └ the curve begins with the first round", style=FAINT)
    return lines


def _gain_words(gain: float) -> tuple[str, str]:
    """What has become of the reward, and the style to say it in: no arrow for what rounds to nothing."""
    if abs(gain) < 0.005:
        return "  as in the first rounds", LABEL
    arrow, style = ("▲", GOOD) if gain > 0 else ("▼", WARN)
    return f"  {arrow} {abs(gain):.2f} since the first rounds", style


def _gain(rewards: list[float]) -> float | None:
    few = min(10, len(rewards) // 2)
    return sum(rewards[-few:]) / few - sum(rewards[:few]) / few if few >= 3 else None


def _footer(state: ViewState, width: int, now: float) -> list[Text]:
    log = f" {state.run.log_file}" if state.run else ""
    # The page goes first, for the log's path gives way where the terminal is narrow.
    places = f" {state.page} ·{log}" if state.page and not state.closed else log
    keys = (
        "stopped" if state.closed else "finishing (again: end at once)" if state.closing else "Ctrl-C: finish cleanly"
    )
    up = f"up {duration(now - state.started_at)}"
    last = apart(Text(places, style=FAINT), Text(f"{up} · {keys} ", style=FAINT), width)
    return [*_notices(state, now), last]


def _notices(state: ViewState, now: float) -> list[Text]:
    """Warnings that are true now, the first one, which may be the others' cause, above."""
    true = [notice for notice in state.notices if notice.is_true(now)]
    lines = [
        Text(f" ! {notice.text} ({duration(now - notice.at)} ago)", style=WARN) for notice in true[:_NOTICES_SHOWN]
    ]
    if len(true) > _NOTICES_SHOWN:
        lines[-1].append(f" · {counted(len(true) - _NOTICES_SHOWN, 'more warning')} in the log")
    return lines


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 07 min."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plain(lines: Iterable[Text]) -> str:
    """The frame without colours."""
    return "\n".join(line.plain.rstrip() for line in lines)
