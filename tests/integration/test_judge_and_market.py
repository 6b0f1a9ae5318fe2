"""A hub with its judge and its games, and nodes that are judged and bet; then judges, markets and model hubs that are
away or wrong, which a node must not mind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from rgym_exp.base.ports import free_port
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.config.invite import Invite
from rgym_exp.hub.client import hub_leaderboard
from rgym_exp.swarm.names import animal_name
from tests.support.judge_stand_in import WRONG, JudgeStandIn, right
from tests.support.model_hub import TOKEN, ModelHub
from tests.support.processes import HubProgram, NodeProgram, Program, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

PAIR = ("ada", "bea")


class JudgedPair:
    """A hub and two nodes that play."""

    def __init__(self, folder: Path, model: Path, life: ExitStack) -> None:
        self.hub = life.enter_context(HubProgram(folder / "hub", "--round-minimum", "0.5", "--round-limit", "30"))
        self.invite: Invite = self.hub.invite()
        self.nodes = [
            life.enter_context(NodeProgram(folder / name, model, "judge.questions=2", invite=self.invite))
            for name in PAIR
        ]
        self.market = MarketContract(self.invite.rpc_url or "", self.invite.prg_address or "")

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.hub, *self.nodes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[JudgedPair]:
    with ExitStack() as life:
        yield JudgedPair(tmp_path_factory.mktemp("judged"), tiny_model_folder, life)


def record(node: NodeProgram, event: str) -> list[str]:
    """The lines of the node's record of the market with this event."""
    file = node.home.prg_record
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [line for line in lines if line.split()[1:2] == [event]]


def issued_is_accounted_for(pair: JudgedPair) -> bool:
    """Whether balances and what games hold add up to all that was issued, or due to peers that haven't bet since."""
    with_peers = sum(pair.market.bet_token_balance(node.peer_id) for node in pair.nodes)
    held = sum(int(pair.market.read("tokensHeld", game)) for game in range(pair.market.game_count()))
    issued = int(pair.market.read("totalIssued"))
    # A peer with less than 10 tokens is shown the allowance that its next bet brings.
    due = with_peers + held - issued
    return due >= 0 and all_allowances(pair) >= due


def all_allowances(pair: JudgedPair) -> int:
    """The most that may be due to the peers."""
    return len(pair.nodes) * int(pair.market.read("ALLOWANCE"))


@pytest.mark.parametrize("name", PAIR)
def test_a_node_is_judged(pair: JudgedPair, name: str) -> None:
    node = pair.nodes[PAIR.index(name)]
    report = wait_for(
        lambda: next((report for report in node.reports() if report.judge_score is not None), None),
        what=f"a score of the judge for {name}",
        programs=pair.programs,
    )
    assert 0 <= (report.judge_score or 0.0) <= 1
    assert report.judge_answers >= 1


@pytest.mark.parametrize("name", PAIR)
def test_a_node_bets_once_per_clue_claims_and_tells_the_outcome(pair: JudgedPair, name: str) -> None:
    node = pair.nodes[PAIR.index(name)]
    outcome = wait_for(
        lambda: record(node, "outcome"), what=f"the outcome of a game of {name}", programs=pair.programs, seconds=240
    )[0]
    assert any(word in outcome for word in ("won", "lost", "refunded"))
    # "... bet      game 0 clue 1: ..."
    clues = [tuple(line.split(": ")[0].split()[2:]) for line in record(node, "bet")]
    assert clues
    assert len(clues) == len(set(clues))
    assert record(node, "claim")
    assert any(report.bet_tokens is not None for report in node.reports())


def test_no_token_comes_from_nowhere(pair: JudgedPair) -> None:
    with ExitStack() as still:
        # Nobody bets and no game goes on while the sums are taken.
        for program in pair.programs:
            if program is not pair.hub:
                still.enter_context(program.frozen())
        wait_for(lambda: issued_is_accounted_for(pair), what="every token issued with a peer or a game", seconds=20)


def test_the_leaderboard_shows_both_with_rewards_and_accuracy(pair: JudgedPair) -> None:
    wanted = {animal_name(node.peer_id) for node in pair.nodes}

    def complete() -> bool:
        rows = hub_leaderboard(pair.invite.hub_url or "").peers
        known = {row.name for row in rows if row.rounds > 0 and row.judged is not None and row.bet_tokens is not None}
        return wanted <= known

    wait_for(complete, what="both peers on the leaderboard, judged and with tokens", programs=pair.programs)
    for row in hub_leaderboard(pair.invite.hub_url or "").peers:
        assert 0 < row.participation <= 1
        assert row.judged is not None
        assert 0 <= row.judged.low <= row.judged.accuracy <= row.judged.high <= 1
        assert row.judged.answers >= 1
    as_text = requests.get(f"{pair.invite.hub_url}/leaderboard", headers={"accept": "text/plain"}, timeout=10).text
    assert all(name in as_text for name in wanted)


def test_rounds_go_on_whatever_the_judge_does(tmp_path: Path, tiny_model_folder: Path) -> None:
    with JudgeStandIn(right).served() as judge:
        settings = (f"network.judge_url={judge.url}", "judge.timeout_seconds=0.5", "blockchain.round_seconds=0.5")
        with NodeProgram(tmp_path, tiny_model_folder, *settings) as node:
            scored = lambda: [report for report in node.reports() if report.judge_score is not None]  # noqa: E731
            wait_for(scored, what="a first score", programs=(node,))
            for behaviour in WRONG:
                judge.behaviour = behaviour
                node.wait_for_rounds(2)
            before = len(scored())
            judge.behaviour = right
            wait_for(lambda: len(scored()) > before, what="a score once the judge is right again", programs=(node,))
            node.ctrl_c()
            assert node.wait() == 0
    assert "Traceback" not in node.output() + node.log()
    assert "The judge answers again." in node.log()


@pytest.mark.parametrize("elsewhere", ["no contract", "the chain is another's"])
def test_rounds_go_on_without_a_market(
    pair: JudgedPair, tmp_path: Path, tiny_model_folder: Path, elsewhere: str
) -> None:
    address = f"0x{'77' * 20}" if elsewhere == "no contract" else pair.invite.coordinator_address
    settings = (f"network.prg_address='{address}'",)
    with NodeProgram(tmp_path, tiny_model_folder, *settings, invite=pair.invite) as node:
        node.wait_for_rounds(3, *pair.programs)
        wait_for(
            lambda: "The prediction market can't be asked now" in node.log(),
            what="a word about the market",
            programs=(node, *pair.programs),
        )
        node.ctrl_c()
        assert node.wait() == 0
    assert not record(node, "bet")


def test_who_opts_out_is_judged_and_does_not_bet(pair: JudgedPair, tmp_path: Path, tiny_model_folder: Path) -> None:
    with NodeProgram(tmp_path, tiny_model_folder, invite=pair.invite, environ={"PRG_GAME": "false"}) as node:
        wait_for(
            lambda: [report for report in node.reports() if report.judge_score is not None],
            what="a score",
            programs=(node, *pair.programs),
        )
        assert all(report.bet_tokens is None for report in node.reports())
    assert not node.home.prg_record.exists()


def test_a_model_is_pushed_while_it_trains_and_at_the_end(tmp_path: Path, tiny_model_folder: Path) -> None:
    with ModelHub(user="somebody").served() as hub:
        environ = {"HUGGINGFACE_ACCESS_TOKEN": TOKEN, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0",
                   "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        settings = ("training.hf_push_frequency=2", "blockchain.round_seconds=0.5")
        with NodeProgram(tmp_path, tiny_model_folder, *settings, environ=environ) as node:
            name = f"somebody/{tiny_model_folder.name}-Gensyn-Swarm-{animal_name(node.peer_id).replace(' ', '_')}"

            def pushes() -> int:
                return len(hub.repositories[name].commits) if name in hub.repositories else 0

            before_the_end = wait_for(pushes, what="a push", programs=(node,))
            node.wait_for_rounds(1)
            node.ctrl_c()
            assert node.wait() == 0
            assert pushes() > before_the_end
    files = {file for commit in hub.repositories[name].commits for file in commit.files}
    assert {"README.md", "model.safetensors", "config.json", "tokenizer.json"} <= files
    assert not {file for file in files if "optimizer" in file or file.endswith((".pem", ".jsonl"))}
    for file in [node.home.logs / "config.yaml", node.home.logs / "swarm.log", node.terminal]:
        assert TOKEN not in file.read_text(encoding="utf-8")


def test_a_model_hub_that_is_away_costs_a_sentence(tmp_path: Path, tiny_model_folder: Path) -> None:
    environ = {"HUGGINGFACE_ACCESS_TOKEN": TOKEN, "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}",
               "HF_HUB_OFFLINE": "0"}  # fmt: skip
    settings = ("training.hf_push_frequency=1", "training.max_rounds=3", "blockchain.round_seconds=0.5")
    with NodeProgram(tmp_path, tiny_model_folder, *settings, environ=environ) as node:
        assert node.wait() == 0
    assert len(node.reports()) == 3
    assert "hf upload" in node.log()
    assert TOKEN not in node.log() + node.output()
