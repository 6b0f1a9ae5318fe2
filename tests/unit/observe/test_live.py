"""The full-screen view, as a person reads it."""

import io
import logging
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from rgym_exp.base.outage import Outage
from rgym_exp.errors import SwarmUserError
from rgym_exp.observe.chart import Curve, chart, smoothed
from rgym_exp.observe.frame import duration, frame, plain
from rgym_exp.observe.live import LiveView
from rgym_exp.observe.metrics import before_training
from rgym_exp.observe.notices import Notice, notice_of
from rgym_exp.observe.progress import PHASES, LiveSources
from rgym_exp.observe.view_state import ViewState
from rgym_exp.types import RoundReport, interim_round
from tests.support.round_reports import RUN

NAMES = {"QmA": "brisk golden heron", "QmB": "silent mossy lynx", "QmC": "gentle copper fox"}


def report(step: int, **changes: Any) -> RoundReport:
    values: dict[str, Any] = dict(
        round=70 + step, step=step, time=0.0, skipped=0, local_groups=4, external_groups=3,
        external_peers=("QmA", "QmB"), local_reward=0.05 + step / 100, external_reward=0.2,
        held_out=0.09 + step / 200 if step % 10 == 0 else None,
        zero_advantage_share=0.0, truncated_share=0.0, loss=0.0, entropy=1.0, grad_norm=1.0, clip_share=0.0,
        tokens_per_second=236.4, phase_seconds={"generate": 7.3, "score": 0.01, "train": 5.2},
        peak_memory_bytes=2_469_606_195, outbox_depth=1, dropped={}, vote=None,
    )  # fmt: skip
    return RoundReport(**{**values, **changes})


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def busy_state() -> ViewState:
    state = ViewState(run=RUN, started_at=0.0, phase_since=90.0)
    for step in range(1, 31):
        state.add(report(step))
    state.add(report(31, external_peers=("QmA", "QmC"), dropped={"late": 2}))
    state.peers, state.waiting = ("QmA", "QmC"), 1
    state.transactions = (
        ("reward", 101, "waiting", ""),
        ("winners", 101, "confirmed", ""),
        ("reward", 100, "refused", "InvalidRoundNumber"),
    )
    state.enter("wait", "", 102, 85.0)
    state.enter("generate", "4 problems × 8", 102, 88.0)
    return state


def lines_at(state: ViewState, width: int, height: int, now: float = 100.0) -> list[str]:
    return [line.plain for line in frame(state, width=width, height=height, now=now, name_of=NAMES.__getitem__)]


def test_the_nodes_web_page_is_named_before_the_log_for_as_long_as_it_is_there() -> None:
    console = Console(record=True, width=80, height=24, file=io.StringIO())
    view = LiveView(name_of=NAMES.__getitem__, console=console, clock=lambda: 100.0)
    view._state = busy_state()
    assert "localhost" not in "".join(lines_at(view._state, 80, 24))
    view.page_at("http://localhost:3000/")
    assert lines_at(view._state, 80, 24)[-1].startswith(" http://localhost:3000/ · logs/swarm.log")
    view._state.closed = True
    assert "localhost" not in "".join(lines_at(view._state, 80, 24))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 36)])
def test_a_person_reads_everything_that_matters(width: int, height: int) -> None:
    console = Console(record=True, width=width, height=height, file=io.StringIO())
    view = LiveView(name_of=NAMES.__getitem__, console=console, clock=lambda: 100.0)
    view._state = busy_state()
    console.print(view)
    text = console.export_text()
    for part in (
        "quiet amber otter",
        "network local",
        "SmolLM2-135M-Instruct · cpu · bfloat16 · tasks starter",
        "round 102  answering this round's problems · 4 problems × 8",
        "12 s",
        "● wait  ◉ generate  ○ score",
        "Reward 0.36",
        "since the first rounds",
        "◆ held-out 0.24",
        "31 rounds",
        "4 local + 3 external of 2 peers",
        "236 tokens/s · 2.3 GiB",
        "12.5 s · generate 7.3 · train 5.2",
        "2 late",
        "Peers  2",
        "● brisk golden heron",
        "○ silent mossy lynx",
        "Transactions  1 waiting",
        "winners round 101   confirmed" if width == 120 else "reward  round 101   waiting",
        "logs/swarm.log",
        "Ctrl-C: finish cleanly",
    ):
        assert part in text
    assert len(text.rstrip("\n").splitlines()) == height
    assert ("QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ" in text) == (width == 120)


@pytest.mark.parametrize("width", [20, 40, 60, 75, 76, 80, 109, 110, 120, 200])
@pytest.mark.parametrize("height", [5, 10, 20, 24, 50, 80])
def test_a_frame_never_outgrows_the_terminal(width: int, height: int) -> None:
    for state in (ViewState(), ViewState(run=RUN), busy_state()):
        lines = lines_at(state, width, height)
        assert len(lines) <= height
        assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"judge_score": 0.25, "judge_answers": 4}, " judge   0.25 of 4 answers"),
        ({"judge_score": 1.0, "judge_answers": 1}, " judge   1.00 of 1 answer"),
        (
            {"judge_score": 0.25, "judge_answers": 4, "bet_tokens": 100.0},
            " judge   0.25 of 4 answers · 100 bet tokens",
        ),
        # What doesn't fit gives up a word rather than a number.
        ({"judge_score": 0.25, "judge_answers": 16, "bet_tokens": 1234.5}, " judge   0.25 of 16 · 1,234.5 bet tokens"),
        ({"bet_tokens": 37.5}, " market  37.5 bet tokens"),
        ({"bet_tokens": 0.0}, " market  0 bet tokens"),
    ],
)
@pytest.mark.parametrize("width", [80, 120])
def test_the_judges_word_and_the_tokens_to_bet_stay_until_they_change(
    changes: dict[str, Any], row: str, width: int
) -> None:
    state = busy_state()
    assert not any(line.startswith((" judge", " market")) for line in lines_at(state, width, 24))
    state.add(report(32, **changes))
    state.add(report(33))
    assert len([line for line in lines_at(state, width, 24) if line[:46].rstrip() == row]) == 1


@pytest.mark.parametrize("width", [20, 60, 76, 80, 110, 200])
def test_a_frame_with_judge_and_market_never_outgrows_the_terminal(width: int) -> None:
    state = busy_state()
    state.add(report(32, judge_score=0.123, judge_answers=16, bet_tokens=123_456_789.5, skipped=3, dropped={"late": 9}))
    state.transactions = (("bet", 12_345_678, "waiting", ""), ("claim", 3, "refused", "NothingToClaim"))
    for height in (5, 10, 24, 50):
        lines = lines_at(state, width, height)
        assert len(lines) <= height and max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("width", [80, 110, 120])
def test_bets_and_claims_are_of_a_game(width: int) -> None:
    state = ViewState(run=RUN)
    state.add(report(1))
    state.transactions = (("bet", 3, "sent", ""), ("reward", 71, "sent", ""), ("claim", 2, "confirmed", ""))
    text = "\n".join(lines_at(state, width, 36))
    for row in ("bet     game 3      sent", "reward  round 71    sent", "claim   game 2      confirmed"):
        assert row in text


def test_a_registration_is_of_no_round() -> None:
    state = ViewState(run=RUN)
    state.add(report(1))
    state.transactions = (("reward", 1, "waiting", ""), ("register", None, "confirmed", ""))
    lines = [line.strip() for line in lines_at(state, 80, 36)]
    assert lines[lines.index("reward  round 1     waiting") + 1] == "registration        confirmed"


def test_before_the_first_round_the_view_says_that_nothing_is_missing() -> None:
    text = "\n".join(lines_at(ViewState(run=RUN, held_out_before={0: 0.08}), 80, 24))
    for part in ("no round yet", "the curve begins with the first round", "not in the swarm yet", "0.08"):
        assert part in text


def test_phases_of_the_round_are_ticked_off_in_order() -> None:
    state = ViewState(run=RUN)
    for phase in PHASES[:5]:
        state.enter(phase, "", 7, 0.0)
    assert "● wait  ● generate  ● score  ● publish  ◉ gather  ○ train  ○ record" in lines_at(state, 80, 24)[4]
    state.enter("wait", "", 8, 0.0)
    assert "◉ wait  ○ generate" in lines_at(state, 80, 24)[4]


def test_a_wait_belongs_to_the_round_that_it_turned_out_to_be_for() -> None:
    state = ViewState(run=RUN)
    state.enter("record", "", 7, 0.0)
    state.add(report(1))
    state.enter("wait", "", None, 0.0)
    assert "round" not in lines_at(state, 80, 24)[3].replace("next round", "")
    state.enter("generate", "", 8, 0.0)
    assert "round 8" in lines_at(state, 80, 24)[3]
    assert "● wait  ◉ generate  ○ score" in lines_at(state, 80, 24)[4]


def test_a_round_without_the_hub_is_named_after_the_last_one_that_was_known() -> None:
    state = ViewState(run=RUN)
    state.add(report(1, round=12, interim=3))
    assert "└ round 12+3 " in "\n".join(lines_at(state, 80, 24))
    state.enter("generate", "", interim_round(12, 4), 0.0)
    assert "round 12+4" in lines_at(state, 80, 24)[3]
    assert "without the hub, which is away" in lines_at(state, 120, 24)[3]


def test_a_round_alone_between_two_of_a_clock_is_no_trouble_of_a_hub() -> None:
    state = ViewState(run=replace(RUN, has_hub=False))
    state.enter("generate", "", interim_round(12, 4), 0.0)
    assert "round 12+4" in lines_at(state, 80, 24)[3]
    assert "hub" not in lines_at(state, 120, 24)[3]


def test_anything_else_that_the_node_does_is_shown_by_its_name() -> None:
    state = ViewState(run=RUN)
    state.enter("defragment", "", None, 0.0)
    assert "defragment" in lines_at(state, 80, 24)[3]
    state.enter("load model", "SmolLM2", None, 0.0)
    assert "loading the model · SmolLM2" in lines_at(state, 80, 24)[3]


def test_a_warning_stays_in_sight_for_some_minutes() -> None:
    state = busy_state()
    state.warn(Notice(text="The chain does not answer.", at=100.0))
    assert " ! The chain does not answer. (4 s ago)" in "\n".join(lines_at(state, 80, 24, now=104.0))
    assert "The chain" not in "\n".join(lines_at(state, 80, 24, now=1000.0))


def record_of(say: Callable[[logging.Logger], None]) -> logging.LogRecord:
    """What a logger was told."""
    heard: list[logging.LogRecord] = []
    log = logging.Logger("test")
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign, assignment]
    log.addHandler(handler)
    say(log)
    return heard[0]


def test_an_alarm_is_gone_when_what_failed_works_again_and_a_later_one_does_not_hide_it() -> None:
    log = logging.Logger("test")
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign, assignment]
    log.addHandler(handler)
    chain = Outage(log, failing="The chain does not answer (%s). Waiting for it.")
    judge = Outage(log, failing="The judge is away: %s")
    state = busy_state()
    chain.fails("HTTPConnectionPool(host='x', port=1): Max retries exceeded")
    judge.fails("TimeoutError()")
    log.warning("A bootnode is away.")
    for second, record in enumerate(heard):
        state.warn(notice_of(record, 100.0 + second))
    text = "\n".join(lines_at(state, 120, 36, now=110.0))
    # Neither the exceptions nor more than fits: the first is the likely cause.
    assert " ! The chain does not answer. Waiting for it. (10 s ago)" in text
    assert " ! The judge is away (9 s ago) · 1 more warning in the log" in text
    chain.works()
    text = "\n".join(lines_at(state, 120, 36, now=110.0))
    assert "The chain" not in text and "The judge is away" in text and "A bootnode is away." in text
    # An outage is shown for as long as it lasts, a warning that nothing takes back for some minutes.
    text = "\n".join(lines_at(state, 120, 36, now=5000.0))
    assert "The judge is away" in text and "A bootnode" not in text


def test_the_text_of_an_exception_belongs_in_the_log() -> None:
    odd = record_of(lambda log: log.warning("The list cannot be read now (%s); using the network's.", KeyError("x")))
    assert notice_of(odd, 0.0).text == "The list cannot be read now (see the log); using the network's."
    ours = record_of(lambda log: log.warning("%s Training goes on.", SwarmUserError("The disk is full.")))
    assert notice_of(ours, 0.0).text == "The disk is full. Training goes on."


def test_peers_and_transactions_are_those_of_now() -> None:
    peers, waiting = ["QmA"], [2]
    rows = [("reward", 71, "waiting", "")]
    console = Console(file=io.StringIO(), width=80, height=24)
    view = LiveView(name_of=NAMES.__getitem__, console=console, clock=lambda: 100.0)
    view.watch(LiveSources(peers=lambda: peers, waiting=lambda: waiting[0], transactions=lambda: rows))
    view.round_done(report(1, external_groups=0, external_peers=(), outbox_depth=2))

    def shown() -> str:
        with console.capture() as capture:
            console.print(view)
        return capture.get()

    # A peer is there before any of its groups was chosen.
    assert "Peers  1" in shown() and "● brisk golden heron" in shown() and "2 waiting" in shown()
    peers.clear()
    waiting[0], rows[0] = 0, ("reward", 71, "confirmed", "")
    assert "nobody else now" in shown() and "waiting" not in shown() and "round 71    confirmed" in shown()


def test_an_outbox_that_cannot_be_read_leaves_what_was_last_known() -> None:
    def fails() -> int:
        raise SwarmUserError("closed")

    view = LiveView(name_of=str, console=Console(file=io.StringIO()), clock=lambda: 100.0)
    view._state.waiting = 2
    view.watch(LiveSources(peers=list, waiting=fails, transactions=list))
    view._look()
    assert view._state.waiting == 2


def test_it_says_what_is_trained_on() -> None:
    state = ViewState(run=RUN)
    state.enter("train", "on local groups", 7, 0.0)
    assert "round 7  training on local groups" in lines_at(state, 80, 24)[3]


def test_a_reward_that_is_where_it_was_has_no_arrow() -> None:
    state = ViewState(run=RUN)
    for step in range(1, 11):
        state.add(report(step, local_reward=0.2 - step / 10_000))
    text = "\n".join(lines_at(state, 80, 24))
    assert "as in the first rounds" in text and "▲" not in text and "▼" not in text


def test_the_log_has_a_round_line_under_the_view_as_well(caplog: pytest.LogCaptureFixture) -> None:
    view = LiveView(name_of=str, console=Console(file=io.StringIO()), clock=lambda: 100.0)
    with caplog.at_level(logging.INFO, logger="rl_swarm"):
        view.round_done(report(1))
    assert "round 71 (step 1) · reward 0.060" in caplog.text


def test_a_run_with_an_end_says_how_far_it_is_and_how_long_it_takes() -> None:
    state = ViewState(run=replace(RUN, max_rounds=100))
    for step in (1, 2, 3):
        state.add(report(step, time=60.0 * step))
    assert "3 of 100 rounds, about 1 h 37 min left" in "\n".join(lines_at(state, 80, 24))


def test_peers_that_do_not_fit_are_counted() -> None:
    state = ViewState(run=RUN, peers=[f"Qm{number}" for number in range(40)])
    lines = [line.plain for line in frame(state, width=80, height=24, now=0.0, name_of=lambda peer: f"peer {peer}")]
    assert any("and 34 more" in line for line in lines)
    assert any("Peers  40" in line for line in lines)


def test_each_peer_is_shown_with_the_way_that_its_last_share_came() -> None:
    state = ViewState(run=RUN)
    state.add(report(1, external_peers=("QmA", "QmB"), ways={"QmA": "bootnode", "QmB": "direct"}))
    state.add(report(2, external_peers=("QmA",), ways={"QmA": "direct"}))
    state.peers = ("QmA",)
    shown = [line.plain for line in frame(state, width=80, height=24, now=0.0, name_of=lambda peer: f"peer {peer}")]
    assert any(re.search(r"● peer QmA +direct +2 *$", line) for line in shown)
    assert any(re.search(r"○ peer QmB +direct +1 *$", line) for line in shown)


def test_a_resumed_run_continues_its_curve() -> None:
    view = LiveView(name_of=NAMES.__getitem__, history=[report(1), report(2)], console=Console(file=io.StringIO()))
    view.held_out(0.5)
    view.round_done(report(3))
    rewards, held_out = view._state.curve()
    assert rewards == pytest.approx([0.06, 0.07, 0.08])
    assert held_out == [None, None, 0.5]
    assert "3 rounds" in plain(frame(view._state, width=80, height=24, now=0.0, name_of=NAMES.__getitem__))


def test_a_resumed_run_still_shows_the_accuracy_before_training() -> None:
    history = [before_training(0.07, time=0.0), report(1), report(2)]
    view = LiveView(name_of=NAMES.__getitem__, history=history, console=Console(file=io.StringIO()))
    assert view._state.curve()[1] == [0.07, None] and view._state.last_held_out() == 0.07
    assert "2 rounds" in plain(frame(view._state, width=80, height=24, now=0.0, name_of=NAMES.__getitem__))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (59.9, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (360_000, "100 h 00 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def columns_of(lines: list[str], wanted: Callable[[str], bool]) -> list[tuple[int, int]]:
    return [(x, y) for y, line in enumerate(lines) for x, cell in enumerate(line) if wanted(cell)]


def test_a_rising_curve_rises_and_marks_lie_at_their_value() -> None:
    # Ten rounds from 0 to 0.9 on a scale to 1; the held-out mark of the last one at 0.5, half-way up 8 rows.
    values = [number / 10 for number in range(10)]
    lines = [line.plain for line in chart(Curve(rewards=values, marks=[None] * 9 + [0.5]), width=57, height=8)]
    assert all(len(line) == 57 for line in lines)
    dots = sorted(columns_of(lines, lambda cell: "⠀" < cell <= "⣿"))
    assert dots[0][1] == 7 and dots[-1][1] <= 1
    assert columns_of(lines, lambda cell: cell == "◆") == [(56, 4)]
    assert lines[0].startswith(" 1.00 ┤") and lines[-1].startswith(" 0.00 ┤")


def test_the_scale_fits_the_highest_value() -> None:
    assert chart(Curve(rewards=[0.01], marks=[None]), width=30, height=5)[0].plain.startswith(" 0.05")
    assert chart(Curve(rewards=[0.01], marks=[0.31]), width=30, height=5)[0].plain.startswith(" 0.40")
    assert chart(Curve(rewards=[], marks=[]), width=30, height=5)[0].plain.startswith(" 0.05")


def test_smoothing_keeps_a_constant_and_the_length() -> None:
    assert smoothed([0.5] * 40) == pytest.approx([0.5] * 40)
    assert smoothed([]) == []
    noisy = [0.0, 1.0] * 30
    # 60 values are averaged over 11: between 5/11 and 6/11 wherever the window is whole.
    assert all(0.45 < value < 0.55 for value in smoothed(noisy)[5:-5])


def test_a_reward_that_is_not_a_number_is_no_point_of_the_curve() -> None:
    state = ViewState(run=RUN)
    state.add(report(1, local_reward=math.nan))
    state.add(report(2))
    assert state.curve()[0] == [0.07]
    assert lines_at(state, 80, 24)


def test_the_view_owns_the_terminal_from_start_to_close(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm-256color"})
    clock = Clock()
    view = LiveView(name_of=NAMES.__getitem__, console=console, clock=clock)
    before = sys.stdout, sys.stderr, list(logging.getLogger("rl_swarm").handlers)
    with caplog.at_level(logging.INFO, logger="rl_swarm"):
        view.started(RUN)
        print("a library prints")
        print("progress 10%\rprogress 20%", file=sys.stderr)
        logging.getLogger("rl_swarm.chain").warning("The chain does not answer.\nsecond line")
        view.round_done(report(1))
        view.transactions([("reward", 71, "sent", "")])
        view.finishing()
        assert "finishing (again: end at once)" in "\n".join(lines_at(view._state, 80, 24))
        view.close()
        view.close()
    assert (sys.stdout, sys.stderr, logging.getLogger("rl_swarm").handlers) == before
    assert "a library prints" in caplog.text and "progress 20%" in caplog.text
    shown = screen.getvalue()
    assert "a library prints" not in shown
    on, off = shown.index("\x1b[?1049h"), shown.index("\x1b[?1049l")
    last_frame = shown[off:]
    assert on < off
    assert "stopped" in last_frame and "after 1 round in this run" in last_frame
    assert "The chain does not answer. (0 s ago)" in last_frame and "second line" not in last_frame


def test_closing_a_view_that_never_started_draws_nothing() -> None:
    screen = io.StringIO()
    LiveView(console=Console(file=screen)).close()
    assert screen.getvalue() == ""
