"""What only a person can mend and can be found out without torch: told at once, not after the libraries have loaded."""

from __future__ import annotations

from importlib.util import find_spec

from rgym_exp.config.paths import Home
from rgym_exp.config.schema import Config
from rgym_exp.config.seams import check_target
from rgym_exp.errors import ConfigError
from rgym_exp.observe.services import check_service
from rgym_exp.swarm.identity import load_identity
from rgym_exp.tasks.datasets import Datasets
from rgym_exp.tasks.file import find_tasks_file, load_tasks_file
from rgym_exp.training.model_place import check_model_place


def check_before_loading(config: Config, home: Home) -> None:
    """Look at classes, tracker, identity, tasks and model, the quickest first. Nothing is made or started.

    Raises:
        SwarmUserError: the run would end with this sentence later.
    """
    for key, value in (
        ("tasks", config.tasks),
        ("blockchain.coordinator", config.blockchain.coordinator),
        ("communications.exchange", config.communications.exchange),
        ("judge.judge", config.judge.judge),
        ("tracker", config.tracker),
    ):
        check_target(value, key=key)
    check_service(config.observe.log_with)
    if config.training.use_vllm and find_spec("vllm") is None:
        raise ConfigError(
            "training.use_vllm is set and vllm is not installed. Install it into the environment of this node, or "
            "leave the key away."
        )
    if home.identity.exists():
        load_identity(home.identity)
    if isinstance(config.tasks, str):
        # Its parameters are known by their datasets only, a second's import.
        Datasets(load_tasks_file(find_tasks_file(config.network.tasks if config.tasks == "auto" else config.tasks)))
    wanted = config.training.model_name if config.training.model_name != "auto" else config.network.model_name
    if wanted != "auto":  # Of a pool, which one is decided by the hardware.
        check_model_place(wanted)
