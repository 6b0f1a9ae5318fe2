"""Which components a configuration makes, and where a node listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config, JudgeConfig, NetworkConfig, PrgGameConfig
from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.node.components import listen_host, make_judge, make_judge_client, make_player
from simulation.memory_chain import MemoryChain
from simulation.memory_judge import MemoryJudge

HERE = "/ip4/127.0.0.1/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"
ELSEWHERE = "/ip4/203.0.113.5/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"
JUDGED = NetworkConfig(judge_url="http://127.0.0.1:8600")


def test_a_swarm_on_this_machine_is_not_reachable_from_others() -> None:
    assert listen_host("auto", [HERE]) == "127.0.0.1"
    assert listen_host("auto", []) == "127.0.0.1"


def test_in_a_swarm_with_a_bootnode_elsewhere_others_must_reach_us() -> None:
    assert listen_host("auto", [HERE, ELSEWHERE]) == "0.0.0.0"


def test_what_is_configured_is_kept() -> None:
    assert listen_host("127.0.0.1", [ELSEWHERE]) == "127.0.0.1"
    assert listen_host("192.168.1.7", [HERE]) == "192.168.1.7"


def test_the_judge_is_the_networks_unless_it_is_turned_off() -> None:
    judge = make_judge(Config(network=JUDGED))
    assert isinstance(judge, HttpJudge)
    assert judge.base_url == "http://127.0.0.1:8600"
    assert make_judge(Config()) is None
    assert make_judge(Config(network=JUDGED, judge=JudgeConfig(judge="none"))) is None


def test_a_judge_of_ones_own_is_asked_also_where_the_network_has_none() -> None:
    own = {"_target_": "simulation.memory_judge.MemoryJudge", "questions": ["What is 2 + 2?"]}
    judge = make_judge(Config(judge=JudgeConfig(judge=own)))
    assert isinstance(judge, MemoryJudge)
    assert judge.ask(user_id="ada", round=0, model_name="m").text == "What is 2 + 2?"


@pytest.mark.parametrize(("every_rounds", "asks"), [(1, True), (0, False)])
def test_questions_are_asked_unless_they_are_turned_off(every_rounds: int, asks: bool) -> None:
    config = Config(judge=JudgeConfig(every_rounds=every_rounds))
    judge_client = make_judge_client(config, MemoryJudge(), peer_id="ada", model_name="m")
    assert (judge_client is not None) is asks
    if judge_client is not None:
        judge_client.close()


@pytest.mark.parametrize(("wanted", "plays"), [(None, True), (True, True), (False, False)])
def test_a_node_plays_where_there_is_a_market_unless_it_opts_out(
    tmp_path: Path, wanted: bool | None, plays: bool
) -> None:
    config = Config(prg_game_config=PrgGameConfig(prg_game=wanted))
    home = Home(root=tmp_path, identity_path=None)
    market = MemoryChain().coordinator("0xada").market
    player = make_player(config, home, MemoryJudge(), market, peer_id="ada")
    assert (player is not None) is plays
    if player is not None:
        player.close()


@pytest.mark.parametrize(("judge", "lacks"), [(MemoryJudge(), "contract"), (None, "contract")])
def test_who_wants_to_play_where_nothing_is_played_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judge: MemoryJudge | None, lacks: str
) -> None:
    config = Config(prg_game_config=PrgGameConfig(prg_game=True))
    assert make_player(config, Home(root=tmp_path, identity_path=None), judge, None, peer_id="ada") is None
    assert lacks in caplog.text
    caplog.clear()
    assert make_player(Config(), Home(root=tmp_path, identity_path=None), judge, None, peer_id="ada") is None
    assert not caplog.text
