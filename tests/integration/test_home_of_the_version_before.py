"""A home that the version before wrote: its checkpoint is resumed, its settings hold, and its curve goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.aliases import CONFIG_KEYS, REPORT_KEYS
from tests.support.processes import NodeProgram, small_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LOCAL_GROUPS = 3
"""Not the default, and not on the command line of the second run: the file says it, by the key's old name."""


def test_it_resumes(tmp_path: Path, tiny_model_folder: Path) -> None:
    small = [*small_settings(tiny_model_folder), "blockchain.round_seconds=0.5"]
    without_groups = [item for item in small if "local_groups" not in item]
    with NodeProgram(tmp_path, None, *without_groups, "training.max_rounds=2") as node:
        assert node.wait() == 0
    respell(node)

    with NodeProgram(tmp_path, None, *without_groups, "training.max_rounds=1") as node:
        assert node.wait() == 0
    assert "Resuming after step 2" in node.output()
    assert "is now training.local_groups" in node.output()
    before, last = node.reports()[:2], node.reports()[-1]
    assert [report.step for report in (*before, last)] == [1, 2, 3]
    assert all(report.local_groups == 4 + 2 for report in before)
    assert last.local_groups == LOCAL_GROUPS + 2


def respell(node: NodeProgram) -> None:
    """Write the home's files as the version before wrote them."""
    for file in (node.home.config_file, node.home.template_copy):
        text = file.read_text()
        if file == node.home.config_file:
            text = text.replace("\n  local_groups: 4\n", f"\n  local_groups: {LOCAL_GROUPS}\n")
        for old, new in CONFIG_KEYS.items():
            text = text.replace(f"  {new.removeprefix('training.')}:", f"  {old.removeprefix('training.')}:")
        file.write_text(text)
    metrics = node.home.logs / "metrics.jsonl"
    lines = metrics.read_text()
    for old, new in REPORT_KEYS.items():
        lines = lines.replace(f'"{new}":', f'"{old}":')
    metrics.write_text(lines)
