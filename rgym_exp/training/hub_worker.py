"""The process that talks to the Hugging Face Hub for a node: asks who it is, or uploads a folder, and ends.

A process of its own, because the Hub's client waits without end for an answer that doesn't come, and a process can be
ended. It is asked in one line of JSON on standard input, and answers with one on standard output (``HubAnswer``).
Standard input stays open for as long as somebody waits; when it closes, this ends at once, so it never outlives the
node. No torch here: it must be up in a second.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from rgym_exp.base.parent import when_parent_is_gone
from rgym_exp.training.hub_answer import HubAnswer, first_line, without
from rgym_exp.training.hub_names import is_user_name

# Connecting, reading, writing; the client itself would wait for ever. Waiting for a connection of its own has no limit.
_TIME_LIMITS = (15.0, 120.0, 120.0, None)
# What a push replaces: weights of an earlier push that were split otherwise, or that were no adapter, or were one.
# Whatever else somebody has put into the repository stays.
_REPLACED = ["*.safetensors", "*.safetensors.index.json", "adapter_config.json"]


class _Useless(Exception):
    """An answer that the Hub doesn't give: something else speaks at its address."""


class _NoRight(Exception):
    """The Hub has answered, and the token may not do it."""


def main() -> None:
    """Answer the one question on standard input (keys as in ``answer_to``)."""
    asked = json.loads(sys.stdin.readline())
    when_parent_is_gone(lambda: os._exit(1))
    get_session().timeout = _TIME_LIMITS
    answer = answer_to(asked)
    print(answer.to_json(), flush=True)
    # Threads of the client may still wait for something that nobody needs any more.
    os._exit(0)


def answer_to(asked: Mapping[str, Any]) -> HubAnswer:
    """Do what was asked for: ``ask`` is "check", or "push" with ``repo``, ``folder`` and ``message``; with a ``token``.

    Never raises: what went wrong is in the answer, without the token.
    """
    token = str(asked["token"])
    try:
        api = HfApi(token=token)
        return _push(api, asked) if asked["ask"] == "push" else _check(api)
    except _NoRight as error:
        return HubAnswer(problem=without(token, str(error)), refused=True)
    except _Useless as error:
        return HubAnswer(problem=without(token, str(error)))
    except HfHubHTTPError as error:
        return HubAnswer(problem=without(token, _http_reason(error)), refused=_status(error) == 401)
    except OfflineModeIsEnabled:
        return HubAnswer(problem="HF_HUB_OFFLINE is set")
    except Exception as error:  # This is the border: client, network and disk fail in any way they like.
        return HubAnswer(problem=without(token, _reason(error)))


def _check(api: HfApi) -> HubAnswer:
    try:
        me = api.whoami()
        name, access = me["name"], (me.get("auth") or {}).get("accessToken") or {}
        allowed = may_write(access, name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _Useless("it doesn't answer as a model hub does") from error
    if not is_user_name(name):
        raise _Useless("it doesn't answer as a model hub does")
    if not allowed:
        raise _NoRight(f"the token of {name} may only read")
    return HubAnswer(user=name)


def may_write(access: Mapping[str, Any], name: str) -> bool:
    """Whether the token may write repositories of ``name``; kinds that we don't know are given the benefit of doubt."""
    role = access.get("role")
    if role != "fineGrained":
        return role != "read"
    rights = access.get("fineGrained") or {}
    if "repo.write" in (rights.get("global") or ()):
        return True
    # One repository's own entry counts too: a push to another one is then refused by the Hub itself.
    owned = (scope for scope in rights.get("scoped") or () if _owner(scope) == name.lower())
    return any("repo.write" in (scope.get("permissions") or ()) for scope in owned)


def _owner(scope: Mapping[str, Any]) -> str:
    return str((scope.get("entity") or {}).get("name", "")).split("/")[0].lower()


def _push(api: HfApi, asked: Mapping[str, Any]) -> HubAnswer:
    repo, folder = str(asked["repo"]), str(asked["folder"])
    api.create_repo(repo, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo, folder_path=folder, commit_message=str(asked["message"]), delete_patterns=list(_REPLACED)
    )
    return HubAnswer(url=f"{api.endpoint}/{repo}", commit=str(getattr(commit, "oid", "")))


def _status(error: HfHubHTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _http_reason(error: HfHubHTTPError) -> str:
    said = error.server_message or ""
    return first_line(f"HTTP {_status(error)}{': ' if said else ''}{said}")


def _reason(error: BaseException) -> str:
    """What went wrong and, where the client says only what it was doing, why."""
    reason = f"{type(error).__name__}: {first_line(str(error))}"
    if "/xet-write-token/" in reason:
        reason += "; with HF_HUB_DISABLE_XET=1 the upload does without Xet storage, which not every hub has"
    return f"{reason}: {_reason(error.__cause__)}" if isinstance(error, RuntimeError) and error.__cause__ else reason


if __name__ == "__main__":
    main()
