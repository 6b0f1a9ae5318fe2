"""Draws ``docs/live-view.svg``: the live view as a terminal shows it, from the files that a real run left in its home.

python docs/live_view.py HOME [docs/live-view.svg]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from rgym_exp.chain.outbox_reading import read_outbox
from rgym_exp.config.paths import Home
from rgym_exp.observe.frame import frame
from rgym_exp.observe.metrics import read_reports
from rgym_exp.observe.progress import RunInfo
from rgym_exp.observe.view_state import ViewState
from rgym_exp.swarm.identity import load_identity
from rgym_exp.swarm.names import animal_name
from rgym_exp.types import RoundReport

WIDTH, HEIGHT = 112, 30
SECONDS_INTO_PHASE = 2.0

# Without rich's own font, which it would load from the web: pages that show the picture forbid that.
SVG = """<svg class="rich-terminal"
 viewBox="0 26 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
<rect fill="#16181d" y="26" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def run_info(home: Home, peer_id: str) -> RunInfo:
    """What stayed the same during the run, from its resolved configuration."""
    config = yaml.safe_load((home.logs / "config.yaml").read_text(encoding="utf-8"))
    network = config["network"]
    log = (home.logs / "swarm.log").read_text(encoding="utf-8", errors="replace")
    return RunInfo(
        peer_id=peer_id,
        peer_name=animal_name(peer_id),
        model_name=network["model_name"],
        network=network["name"],
        device="cuda" if ", cuda " in log else "cpu",
        dtype="bfloat16" if " bfloat16, " in log else "float32",
        tasks=network["tasks"],
        log_file=Path("logs/swarm.log"),
    )


def state_of(home: Home, reports: list[RoundReport]) -> ViewState:
    """The view's state in the midst of training on the last round."""
    state = ViewState(run=run_info(home, load_identity(home.identity).peer_id))
    state.started_at = -(reports[-1].time - reports[0].time)
    for report in reports[:-1]:
        state.add(report)
    state.peers = reports[-2].external_peers
    state.transactions = [
        (row.kind, row.round or 0, row.status, row.detail)
        for row in read_outbox(home.outbox, 12)[1]
        if (row.round or 0) < reports[-1].round
    ]
    for phase in ("wait", "generate", "score", "publish", "gather", "train"):
        detail = "on local and external groups" if phase == "train" else ""
        state.enter(phase, detail, reports[-1].round, now=-SECONDS_INTO_PHASE)
    return state


def main() -> None:
    home = Home(root=Path(sys.argv[1]), identity_path=None)
    target = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/live-view.svg")
    state = state_of(home, read_reports(home.logs / "metrics.jsonl"))
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text("\n").join(frame(state, width=WIDTH, height=HEIGHT, now=0.0, name_of=animal_name)))
    target.write_text(console.export_svg(title="", code_format=SVG, unique_id="live"), encoding="utf-8")


if __name__ == "__main__":
    main()
