"""Whether a model can be had at all, asked before torch is loaded: a mistyped name is told at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rgym_exp.base.http_client import socks_proxy_variable
from rgym_exp.errors import ModelError
from rgym_exp.training.bundled import BUNDLED_MODEL, check_bundled_model

_HUB_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_MODEL_FILES = ("config.json", "adapter_config.json")
"""One of these is in every folder that transformers loads a model from."""


def check_model_place(name: str) -> None:
    """Look whether ``name`` is the bundled model, a folder with a model, in the model hub's cache or on the hub.

    A hub that is slow or in trouble is no reason to refuse: loading asks it again, more often.

    Raises:
        ModelError: there is no such folder or name, or neither cache nor hub can give the model.
        BundledModelMissing: it is the bundled one, whose package is not installed.
    """
    if name == BUNDLED_MODEL:
        check_bundled_model()
    elif Path(name).is_dir():
        _check_folder(Path(name))
    elif _is_path(name):
        raise ModelError(f"There is no folder {name} to load a model from. Check training.model_name or MODEL_NAME.")
    else:
        _check_hub(name)


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or Path(name).exists()


def _check_folder(folder: Path) -> None:
    if not any((folder / file).exists() for file in _MODEL_FILES):
        raise ModelError(
            f"{folder} is a folder, but not one with a model that transformers can load (it holds no config.json)."
        )


def _check_hub(name: str) -> None:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
        if any(isinstance(try_to_load_from_cache(name, file), str) for file in _MODEL_FILES):
            return
        if constants.HF_HUB_OFFLINE:
            raise could_not_be_loaded(name, "HF_HUB_OFFLINE is set, and it is not among the models fetched before")
        _ask_hub(name)
    except HFValidationError:
        raise could_not_be_loaded(name, "it is neither a folder here nor a name as model hubs have them") from None
    except GatedRepoError:
        raise could_not_be_loaded(name, "it is gated, and HF_TOKEN is not set or not admitted") from None
    except RepositoryNotFoundError:
        raise could_not_be_loaded(name, f"{constants.ENDPOINT} knows no such model, or it is private") from None
    except EntryNotFoundError:
        return  # An adapter, or of a kind that only loading can judge.


def _ask_hub(name: str) -> None:
    """One request, and a second one where the first finds no connection."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    for is_last in (False, True):
        try:
            get_hf_file_metadata(hf_hub_url(name, _MODEL_FILES[0]), timeout=_HUB_SECONDS)
            return
        except (EntryNotFoundError, RepositoryNotFoundError):
            raise
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise could_not_be_loaded(name, f"{constants.ENDPOINT} does not let this HF_TOKEN have it") from error
            return
        except Exception as error:  # Classes of the HTTP library below, which differ by version.
            if "Timeout" in type(error).__name__:
                return
            if is_last and (socks := behind_socks(name)) is not None:
                raise socks from error
            if is_last:
                reason = str(error).strip() or type(error).__name__
                raise could_not_be_loaded(
                    name, f"{constants.ENDPOINT} can't be reached: {reason}, and it was not fetched before"
                ) from error
        time.sleep(_PAUSE_SECONDS)


def behind_socks(name: str) -> ModelError | None:
    """The sentence for a model that can't be fetched because the model hub lies behind a SOCKS proxy, if it does."""
    variable = socks_proxy_variable(os.environ)
    if variable is None:
        return None
    return ModelError(
        f"The model {name} could not be fetched: {variable} names a SOCKS proxy, and the model hub can be asked "
        f"through an HTTP proxy only. Set HTTPS_PROXY to one and unset {variable}, fetch the model elsewhere and "
        f"give its folder, or use {BUNDLED_MODEL}, which needs no hub."
    )


def could_not_be_loaded(name: str, why: str) -> ModelError:
    """The error that names the model, the reason and what to do."""
    return ModelError(
        f"The model {name} could not be loaded ({why}). Check the name, the connection to the model hub "
        f"(HF_ENDPOINT, proxy variables), and HF_TOKEN if it is gated; or use {BUNDLED_MODEL}, which needs no hub."
    )
