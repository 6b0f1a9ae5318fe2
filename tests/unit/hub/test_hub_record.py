from __future__ import annotations

import json
from pathlib import Path

import pytest

from rgym_exp.errors import HubError
from rgym_exp.hub.hub_record import HubRecord, load_record, new_swarm_id, save_record


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = HubRecord(swarm_id=new_swarm_id(), tasks="starter", model_name="auto", port=1, p2p_port=2, contract="0xab")
    save_record(tmp_path / "hub" / "hub.json", record)
    assert load_record(tmp_path / "hub" / "hub.json") == record


def test_a_new_hub_has_no_record(tmp_path: Path) -> None:
    assert load_record(tmp_path / "hub.json") is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"swarm_id": "s", "surprise": 1}'])
def test_a_damaged_record_never_becomes_a_new_swarm(tmp_path: Path, content: str) -> None:
    (tmp_path / "hub.json").write_text(content)
    with pytest.raises(HubError, match=r"hub\.json is damaged.*new swarm"):
        load_record(tmp_path / "hub.json")
    assert (tmp_path / "hub.json").read_text() == content


def test_a_record_from_before_there_was_a_market_is_still_read(tmp_path: Path) -> None:
    old = {"swarm_id": "s", "tasks": "starter", "model_name": "auto", "port": 1, "p2p_port": 2, "contract": "0xab"}
    (tmp_path / "hub.json").write_text(json.dumps({**old, "rpc_url": None}))
    record = load_record(tmp_path / "hub.json")
    assert record is not None
    assert (record.contract, record.market) == ("0xab", None)


def test_swarm_ids_differ() -> None:
    assert len({new_swarm_id() for _ in range(100)}) == 100
