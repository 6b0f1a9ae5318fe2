"""Pictures of runs, and what is made of their numbers before."""

import io
import math
import random
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from rgym_exp.observe.metrics import before_training
from rgym_exp.observe.plot import draw, figure_of
from rgym_exp.observe.plot_data import PHASES, Run, curve, first_and_last_level, phase_bars, rounds_that_count, run_of
from rgym_exp.types import RoundReport


def report(step: int, **changes: Any) -> RoundReport:
    base = RoundReport(
        round=step + 99, step=step, time=1_700_000_000.0 + step, skipped=0, local_groups=4, external_groups=4,
        external_peers=("QmA",), local_reward=0.01 * step, external_reward=0.5, held_out=0.2 if step % 5 == 0 else None,
        zero_advantage_share=0.0, truncated_share=0.0, loss=0.0, entropy=1.0, grad_norm=1.0, clip_share=0.0,
        tokens_per_second=100.0, phase_seconds={"generate": 5.0, "train": 3.0, "wait": 0.5}, peak_memory_bytes=1,
        outbox_depth=0, dropped={}, vote=None,
    )  # fmt: skip
    return replace(base, **changes)


def run(steps: range = range(1, 21), *, label: str = "otter", **changes: Any) -> Run:
    return Run(label=label, reports=tuple(report(step, **changes) for step in steps))


def titles(*runs: Run) -> list[str]:
    return [panel.get_title(loc="left") for panel in figure_of(runs).axes]


def heading(*runs: Run) -> str:
    return figure_of(runs).get_suptitle()


# ------------------------------------------------------------------------------------------------- the numbers


def test_steps_that_were_made_again_after_a_crash_count_as_they_were_made_last() -> None:
    lost = [report(step, local_reward=0.0) for step in (1, 2, 3, 4)]
    again = [report(step, round=step + 200, local_reward=1.0) for step in (3, 4, 5)]
    kept = rounds_that_count([*lost, *again])
    assert [(each.step, each.local_reward) for each in kept] == [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0), (5, 1.0)]


def test_a_model_that_began_afresh_leaves_nothing_of_the_one_before() -> None:
    assert rounds_that_count([*run(range(1, 9)).reports, *run(range(1, 4)).reports]) == run(range(1, 4)).reports


def test_the_axis_counts_the_swarms_rounds_until_a_swarm_begins_with_lower_ones() -> None:
    assert run(range(1, 4)).places() == ([100.0, 101.0, 102.0], "round")
    moved = Run(label="otter", reports=(report(1), report(2), report(3, round=0)))
    assert moved.places() == ([1.0, 2.0, 3.0], "round taken part in")


def test_a_curve_leaves_out_what_is_unknown_and_is_interrupted_where_rounds_are_missing() -> None:
    drawn = curve([1, 2, 3, 4, 50, 51], [0.1, None, math.nan, 0.3, 0.5, 0.5])
    # The jumps between known points are 3, 46 and 1: only the second is ten times the usual one.
    assert drawn.x == [1, 4, 50, 50, 51]
    assert [math.isnan(value) for value in drawn.raw] == [False, False, True, False, False]
    assert [value for value in drawn.raw if not math.isnan(value)] == [0.1, 0.3, 0.5, 0.5]


def test_one_very_long_round_does_not_lift_the_smooth_line() -> None:
    # Means of three: the 1000 counts as 4, so its neighbours show (1 + 1 + 4) / 3.
    drawn = curve(list(range(7)), [1.0, 1.0, 1.0, 1000.0, 1.0, 1.0, 1.0], highest=4.0)
    assert drawn.smooth == [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    assert drawn.raw[3] == 1000.0


def test_a_curve_of_very_many_rounds_is_of_means() -> None:
    drawn = curve(list(range(6000)), [float(index % 3) for index in range(6000)])
    assert (len(drawn.x), drawn.rounds, drawn.raw[0], drawn.x[0]) == (2000, 3, 1.0, 1.0)


def test_bars_touch_where_rounds_do_and_leave_a_gap_where_they_do_not() -> None:
    bars = phase_bars([1, 2, 5], run(range(1, 4)).reports)
    assert bars.edges == [0.5, 1.5, 2.5, 4.5, 5.5]
    assert bars.seconds["generate"][:2] == [5.0, 5.0] and bars.seconds["generate"][3] == 5.0
    assert all(math.isnan(bars.seconds[phase][2]) for phase in PHASES)


def test_bars_of_a_long_run_are_means_of_neighbours_and_none_spans_a_gap() -> None:
    long = run(range(1, 601), phase_seconds={"train": 2.0})
    x = [float(step if step <= 300 else step + 5000) for step in range(1, 601)]
    bars = phase_bars(x, long.reports)
    assert len(bars.edges) == 1 + 100 + 1 + 100
    assert {value for value in bars.seconds["train"] if not math.isnan(value)} == {2.0}
    # 300 rounds, a gap, 300 rounds.
    assert (bars.edges[0], bars.edges[100], bars.edges[101], bars.edges[-1]) == (0.5, 300.5, 5300.5, 5600.5)


def test_levels_are_means_of_a_quarter_and_of_ten_rounds_at_most() -> None:
    few, many = first_and_last_level([0.0, 1.0, 1.0, 0.5]), first_and_last_level([0.0] * 50 + [1.0] * 50)
    assert few is not None and (few.first, few.last, few.rounds) == (0.0, 0.5, 1)
    assert many is not None and (many.first, many.last, many.rounds) == (0.0, 1.0, 10)
    assert first_and_last_level([0.0, None, 1.0, math.nan, 0.5]) is None


# ------------------------------------------------------------------------------------------------- the picture


def test_titles_say_what_is_seen_in_one_run() -> None:
    assert heading(run()) == "otter: rounds 100 to 119"
    assert titles(run()) == [
        # Steps 1 to 5 have rewards 0.01 to 0.05, steps 16 to 20 have 0.16 to 0.20.
        "Reward: 0.03 in the first 5 rounds, 0.18 in the last",
        "Held-out accuracy: 0.20 in round 104, 0.20 in round 119",
        "Seconds a round: median 8.5, longest phase generate",
    ]


def test_the_accuracy_before_training_is_where_the_curve_begins() -> None:
    history = [before_training(0.07, time=0.0), *run(range(1, 11)).reports]
    # Of a model that began afresh, the older one's step 0 is gone as well.
    made = run_of("otter", [before_training(0.5, time=0.0), report(1), *history])
    assert made is not None and made.evaluations(made.steps) == [(0.0, 0.07), (5.0, 0.2), (10.0, 0.2)]
    assert len(made.reports) == 10 and heading(made) == "otter: rounds 100 to 109"
    assert titles(made)[1] == "Held-out accuracy: 0.07 before training, 0.20 in round 109"
    assert run_of("otter", history[:1]) is None


def test_the_judges_score_is_not_called_held_out_accuracy() -> None:
    judged = run(held_out=None, judge_score=0.4)
    assert titles(judged)[1] == "The judge's score: 0.40 of late"
    assert titles(judged, replace(judged, label="beaver"))[1] == "The judge's score"


def test_titles_say_which_of_several_runs_is_first() -> None:
    better = run(label="beaver", local_reward=0.9, held_out=0.7, judge_score=0.4, phase_seconds={"train": 9.0})
    assert heading(run(), better) == "2 runs side by side"
    assert titles(run(), better) == [
        "Reward, highest at the end: beaver (0.90)",
        "Held-out accuracy, highest at the end: beaver (0.70); dotted: the judge's score",
        "Seconds a round, fewest: otter (median 8.5)",
    ]


def test_one_round_is_shown_as_one() -> None:
    single = run(range(1, 2), held_out=0.25, judge_score=0.5)
    assert heading(single) == "otter: round 100"
    assert titles(single) == [
        "Reward: 0.01",
        "Held-out accuracy: 0.25 in round 100; the judge's score: 0.50 of late",
        "Seconds a round: median 8.5, longest phase generate",
    ]


def test_a_run_without_evaluations_says_so_in_place_of_the_curve() -> None:
    _, accuracy, _ = figure_of([run(held_out=None)]).axes
    assert [text.get_text() for text in accuracy.texts][0].startswith("no evaluation in these rounds")


def test_a_very_long_round_is_cut_off_and_named_in_the_title() -> None:
    waited = [report(step, phase_seconds={"train": 4000.0 if step == 7 else 8.0}) for step in range(1, 21)]
    odd = Run(label="otter", reports=tuple(waited))
    assert titles(odd)[2] == "Seconds a round: median 8.0, longest phase train (cut off: one of 4000)"
    assert figure_of([odd]).axes[2].get_ylim() == (0.0, 16.0)


@pytest.mark.parametrize("count", [1, 3])
def test_no_legend_covers_data(count: int) -> None:
    figure = figure_of([run(label=f"run {number}", judge_score=0.5) for number in range(count)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    legends = [*figure.legends, *filter(None, (panel.get_legend() for panel in figure.axes))]
    assert legends
    for legend in legends:
        for panel in figure.axes:
            assert not panel.get_window_extent(renderer).overlaps(legend.get_window_extent(renderer))


def test_a_label_is_shown_as_it_is_even_where_it_looks_like_a_formula_or_a_hidden_one() -> None:
    figure = figure_of([run(label="_lr $5$ {0}"), run(label="bell\a")])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" _lr \\$5\\$ {0}", "bell?"]
    assert draw([run(label=r"$\frac{$ {x")], form="svg")


def test_the_same_runs_give_the_same_bytes_and_no_date_is_in_them() -> None:
    for form in ("png", "svg"):
        assert draw([run()], form=form) == draw([run()], form=form)
    svg = draw([run(), run(label="beaver")], form="svg").decode()
    assert "<dc:date>" not in svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_a_png_is_1200_pixels_wide_and_not_empty() -> None:
    png = draw([run()], form="png")
    assert struct.unpack(">II", png[16:24]) == (1200, 1100)
    colours = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20)
    assert colours is not None and {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)} <= {colour for _, colour in colours}


NUMBER = st.none() | st.floats() | st.integers(-(10**9), 10**9)


@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_whatever_a_file_says_there_is_a_picture(rows: list[tuple[float | None, ...]], chance: random.Random) -> None:
    reports = [
        report(
            step,
            round=chance.randrange(10**6),
            local_reward=math.nan if reward is None else reward,
            held_out=held_out,
            judge_score=score,
            phase_seconds={} if seconds is None else {"train": seconds, "unheard_of": "?"},
        )
        for step, (reward, held_out, score, seconds) in enumerate(rows, start=1)
    ]
    odd = Run(label="odd", reports=tuple(reports))
    assert draw([odd], form="png").startswith(b"\x89PNG")
    assert draw([odd, run()], form="png").startswith(b"\x89PNG")
