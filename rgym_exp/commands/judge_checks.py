"""What the doctor looks at of judge, prediction market and model hub. None of them keeps a node from training."""

from __future__ import annotations

from rgym_exp.base.text import plain
from rgym_exp.commands.checks import Finding, ok, warning
from rgym_exp.commands.network_checks import code_at
from rgym_exp.config.schema import NetworkConfig
from rgym_exp.errors import HubError
from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.judge.judge import JudgeAway

ANSWER_SECONDS = 5.0


def check_judge(network: NetworkConfig) -> Finding:
    """The judge answers."""
    if network.judge_url is None:
        return ok("this network has no judge")
    try:
        clue = HttpJudge(network.judge_url, timeout_seconds=ANSWER_SECONDS).current_clue()
    except JudgeAway as error:
        return warning(plain(error), "Nothing to do here: a node trains without it, and asks again by itself.")
    game = f"game {clue.game} at clue {clue.clue}" if clue is not None else "no game just now"
    return ok(f"judge {network.judge_url} answers: {game}")


def check_market(network: NetworkConfig) -> Finding:
    """The prediction market's contract is there."""
    if network.prg_address is None or network.rpc_url is None:
        return ok("this network has no prediction market")
    try:
        is_there = len(code_at(network.rpc_url, network.prg_address)) > 2
    except (HubError, ValueError, TypeError, KeyError):
        return ok("prediction market not looked at: the chain does not answer")
    if is_there:
        return ok(f"prediction market found at {network.prg_address}")
    return warning(
        f"there is no prediction market at {network.prg_address}",
        "A node trains and does not bet. Ask the host for a new invite, or set prg_game_config.prg_game=false.",
    )
