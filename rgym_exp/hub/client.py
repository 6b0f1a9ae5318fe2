"""Asking a hub over HTTP, for those who run on the host's machine or have joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from rgym_exp.base.http_client import Answer, fetch, reason_of
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.errors import HubError
from rgym_exp.hub.leaderboard_page import MAX_PEERS_SHOWN, Page, page_from_json

MAX_ANSWER_BYTES = 1024 * 1024


def ask(url: str, *, timeout_seconds: float = 3.0, data: bytes | None = None) -> Answer:
    """GET (or, with data, POST as JSON) of at most MAX_ANSWER_BYTES, within the time.

    Raises a HubError that says why there is no answer. An error status counts as no answer.
    """
    if not url.startswith(("http://", "https://")):
        raise HubError(f"{url} is no http or https address.")
    headers = {"Content-Type": "application/json"} if data else {}
    bounds: Any = {"max_bytes": MAX_ANSWER_BYTES, "timeout_seconds": timeout_seconds, "redirects": True}
    try:
        answer = fetch(url, data=data, headers=headers, **bounds)
    except (requests.exceptions.RequestException, ValueError) as error:
        raise HubError(f"{url} does not answer ({reason_of(error)}).") from error
    if answer.status >= 400:
        raise HubError(f"{url} answered with status {answer.status}.")
    return answer


def hub_status(hub_url: str, *, timeout_seconds: float = 3.0) -> Mapping[str, Any]:
    """The hub's ``/status``; raises a HubError when there is no hub there."""
    url = f"{hub_url.rstrip('/')}/status"
    body = ask(url, timeout_seconds=timeout_seconds).body
    try:
        answer = shallow_json(body)
    except ValueError as error:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.") from error
    if not isinstance(answer, dict) or "swarm_id" not in answer:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.")
    return answer


def hub_invite(hub_url: str, *, timeout_seconds: float = 3.0) -> str:
    """The hub's invite as text; raises a HubError when there is no hub there."""
    url = f"{hub_url.rstrip('/')}/invite"
    text = ask(url, timeout_seconds=timeout_seconds).body.decode("utf-8", "replace").strip()
    if not text.startswith("rlswarm"):
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.")
    return text


def hub_leaderboard(hub_url: str, *, limit: int = MAX_PEERS_SHOWN, timeout_seconds: float = 3.0) -> Page:
    """The first peers of the hub's leaderboard; raises a HubError when there is none."""
    url = f"{hub_url.rstrip('/')}/leaderboard?limit={limit}"
    body = ask(url, timeout_seconds=timeout_seconds).body
    try:
        return page_from_json(shallow_json(body))
    except ValueError as error:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.") from error
