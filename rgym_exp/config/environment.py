"""The environment variables that a run listens to, beside IDENTITY_PATH and RL_SWARM_HOME (``paths.py``).

HF_ENDPOINT and the proxy variables are left to the libraries that read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rgym_exp.config.settings import Setting, literal
from rgym_exp.errors import ConfigError

TESTNET = "gensyn-testnet"
SECRET_VARIABLES = (
    *("HF_TOKEN", "HUGGINGFACE_ACCESS_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"),
    *("RL_SWARM_PASSPHRASE", "RL_SWARM_ACCOUNT_PASSPHRASE"),
)
"""Variables whose values must never reach a file or a screen."""


def is_set(variable: str, environ: Mapping[str, str], *, any_word: bool = False) -> bool | None:
    """A yes-or-no variable; None when it is unset or empty.

    Args:
        any_word: whatever is no word for no means yes, as the first RL Swarm read this variable.

    Raises:
        ConfigError: its value is neither.
    """
    text = environ.get(variable, "").strip().lower()
    if text in ("1", "true", "yes", "y", "on"):
        return True
    if text in ("0", "false", "no", "n", "off"):
        return False
    if text and any_word:
        return True
    if text:
        raise ConfigError(f"{variable} must be true or false, not {environ[variable]!r}.")
    return None


def environment_settings(environ: Mapping[str, str]) -> tuple[list[Setting], list[str]]:
    """MODEL_NAME, PRG_GAME and CPU_ONLY as settings, and a sentence for each that can't be understood."""
    found: list[Setting] = []
    problems: list[str] = []
    if model := environ.get("MODEL_NAME", "").strip():
        found.append(Setting(name="training.model_name", value=literal(model), origin="MODEL_NAME"))
    for variable, name, meaning in (
        ("PRG_GAME", "prg_game_config.prg_game", {True: True, False: False}),
        ("CPU_ONLY", "training.device", {True: "cpu"}),
    ):
        try:
            answer = is_set(variable, environ, any_word=variable == "CPU_ONLY")
        except ConfigError as error:
            problems.append(str(error))
            continue
        if answer is not None and answer in meaning:
            found.append(Setting(name=name, value=meaning[answer], origin=variable))
    return found, problems


def network_from(environ: Mapping[str, str]) -> str | None:
    """CONNECT_TO_TESTNET=true means the testnet; anything else leaves the choice to others.

    Raises:
        ConfigError: its value is neither true nor false.
    """
    return TESTNET if is_set("CONNECT_TO_TESTNET", environ) else None


def hugging_face_token(environ: Mapping[str, str]) -> str | None:
    """The token to fetch models with. It is no part of the configuration, so that nothing can save or log it.

    "None" and "N" are what older launchers export when somebody declines.
    """
    return _token(("HF_TOKEN", "HUGGINGFACE_ACCESS_TOKEN"), environ)


def push_token(environ: Mapping[str, str]) -> str | None:
    """The token with which the trained model is pushed to the model hub; None: nothing is pushed.

    Only HUGGINGFACE_ACCESS_TOKEN means that: HF_TOKEN alone is there to fetch gated models.
    """
    return _token(("HUGGINGFACE_ACCESS_TOKEN",), environ)


def _token(variables: Sequence[str], environ: Mapping[str, str]) -> str | None:
    for variable in variables:
        token = environ.get(variable, "").strip()
        if token and token.lower() not in ("none", "n"):
            return token
    return None


def secrets_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values that logs and saved configurations must leave out."""
    return tuple(value for name in SECRET_VARIABLES if len(value := environ.get(name, "").strip()) >= 8)
