"""The login server's answers, the good ones and all others, as a node takes them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.login_client import MAX_ANSWER_BYTES, LoginAccount, LoginClient, LoginHealth
from rgym_exp.chain.login_errors import LoginServerAway, LoginServerTrouble, NotLoggedIn, TokenRefused, WriteRefused
from tests.support.login_stand_in import HANGS_UP, LoginStandIn, Says, says

REPOSITORY = Path(__file__).resolve().parents[3]
HASH = "0x" + 64 * "a"
HEALTH = {
    "service": "rl-swarm-login",
    "version": "1.2.3",
    "wallet": "local",
    "chainId": 685685,
    "contract": "0x" + 40 * "1",
    "market": "0x" + 40 * "3",
    "dataDir": 64 * "d",
}
ACCOUNT = {"orgId": "org", "address": "0x" + 40 * "2", "activation": "activated", "expiresAt": 1.5e9}


@pytest.fixture
def server() -> Iterator[LoginStandIn]:
    with LoginStandIn(lambda asked: says({"hash": HASH})).served() as running:
        yield running


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret\n")
    return path


@pytest.fixture
def client(server: LoginStandIn, token_file: Path) -> LoginClient:
    return LoginClient(server.url, token_file, answer_seconds=30, write_seconds=30)


@pytest.fixture
def client_in_haste(server: LoginStandIn, token_file: Path) -> LoginClient:
    return LoginClient(server.url, token_file, answer_seconds=1, write_seconds=1)


def register(client: LoginClient) -> str:
    return client.write("register-peer", {"orgId": "org", "peerId": "QmA"})


# ------------------------------------------------------------------------------------------------------------ requests


def test_a_write_is_posted_as_json_with_the_token(server, client):
    assert register(client) == HASH
    [asked] = server.asked
    assert (asked.method, asked.route, asked.body) == ("POST", "register-peer", {"orgId": "org", "peerId": "QmA"})
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer secret"
    # A browser's headers would make it a page's request, which the server looks at with more suspicion.
    assert not {"origin", "sec-fetch-site", "cookie"} & set(asked.headers)


def test_the_token_is_read_at_every_call_because_a_new_server_may_have_a_new_one(server, client, token_file):
    register(client)
    token_file.write_text("another")
    register(client)
    token_file.unlink()
    register(client)
    assert [asked.headers.get("authorization") for asked in server.asked] == ["Bearer secret", "Bearer another", None]


def test_a_token_file_that_cannot_be_read_is_told_by_its_path(server, tmp_path):
    with pytest.raises(TokenRefused, match=str(tmp_path)):
        register(LoginClient(server.url, tmp_path))
    assert server.asked == []


def test_no_token_goes_with_the_question_what_serves_there(server, client):
    server.answer = lambda asked: says(HEALTH)
    client.health()
    assert "authorization" not in server.asked[0].headers


def test_neither_a_proxy_nor_a_netrc_of_the_environment_gets_or_replaces_the_token(
    server, client, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert register(client) == HASH
    assert server.asked[0].headers["authorization"] == "Bearer secret"


def test_a_redirect_is_not_followed_so_that_the_token_goes_nowhere_else(server, client):
    with LoginStandIn(lambda asked: says({"hash": HASH})).served() as elsewhere:
        server.answer = lambda asked: Says(status=307, headers={"location": elsewhere.url + "register-peer"})
        with pytest.raises(LoginServerTrouble, match="status 307"):
            register(client)
        assert elsewhere.asked == []


def test_values_that_are_no_text_are_refused_before_they_are_sent(server, client):
    with pytest.raises(WriteRefused, match="aren't text"):
        client.write("submit-winner", {"orgId": "org", "winners": ["\ud800"]})
    assert server.asked == []


# ------------------------------------------------------------------------------------------------------------- answers


def test_who_is_logged_in_and_that_nobody_is(server, client):
    server.answer = lambda asked: says({**ACCOUNT, "email": "ada@example.org"})
    assert client.account() == LoginAccount(
        org_id="org",
        address="0x" + 40 * "2",
        activation="activated",
        expires_at=1.5e9,
        email="ada@example.org",
    )
    server.answer = lambda asked: says({**ACCOUNT, "address": None, "activation": "pending", "expiresAt": None})
    account = client.account()
    assert account is not None
    assert (account.address, account.activation, account.expires_at, account.email) == (None, "pending", None, None)
    server.answer = lambda asked: says(None)
    assert client.account() is None


def test_what_serves_there(server, client):
    server.answer = lambda asked: says(HEALTH)
    assert client.health() == LoginHealth(
        version="1.2.3",
        wallet="local",
        chain_id=685685,
        contract="0x" + 40 * "1",
        market="0x" + 40 * "3",
        data_dir=64 * "d",
    )


@pytest.mark.parametrize("market", [None, 3])
def test_a_server_without_a_market_serves_there(server, client, market):
    server.answer = lambda asked: says({**HEALTH, "market": market})
    assert client.health().market is None
    server.answer = lambda asked: says({name: value for name, value in HEALTH.items() if name != "market"})
    assert client.health().market is None


@pytest.mark.parametrize(
    "answer",
    [
        *(says({**HEALTH, "service": "grafana"}), says({**HEALTH, "chainId": "x"})),
        *(says([]), says({"error": "no"}, 404)),
        *(Says(content=b"<!doctype html><title>404</title>", status=status) for status in (404, 401, 405)),
    ],
)
def test_another_program_on_the_port_is_no_login_server(server, client, answer):
    server.answer = lambda asked: answer
    with pytest.raises(ChainError, match="isn't a login server of this version.*LOGIN_PORT") as caught:
        client.health()
    assert not isinstance(caught.value, ChainUnavailable)


def test_a_server_without_the_account_route_is_of_another_version(server, client):
    server.answer = lambda asked: says({"error": "not found"}, 404)
    with pytest.raises(ChainError, match="isn't a login server of this version"):
        client.account()


@pytest.mark.parametrize(
    "wrong",
    [
        {"orgId": 7},
        {"orgId": None},
        {"address": "0x12"},
        {"address": 12},
        {"activation": "maybe"},
        {"activation": None},
        {"expiresAt": "tomorrow"},
        {"expiresAt": []},
    ],
)
def test_an_account_of_wrong_types_is_not_believed(server, client, wrong):
    server.answer = lambda asked: says({**ACCOUNT, **wrong})
    with pytest.raises(LoginServerTrouble, match="doesn't say who is logged in"):
        client.account()


@pytest.mark.parametrize("name", ["InvalidRoundNumber", "PeerIdAlreadyRegistered"])
def test_the_contracts_refusal_is_told_by_its_name(server, client, name):
    server.answer = lambda asked: says({"error": name}, 400)
    with pytest.raises(WriteRefused) as caught:
        register(client)
    assert caught.value.name == name


def test_a_user_whom_the_server_does_not_know_any_more_has_to_log_in_again(server, client):
    server.answer = lambda asked: says({"error": "Nobody is logged in under this orgId."}, 404)
    page = server.url.removesuffix("/api/")
    with pytest.raises(NotLoggedIn, match=f"Log in again at {page} .*`rl-swarm login`.*waits in the outbox"):
        register(client)


@pytest.mark.parametrize("status", [401, 403, 421])
def test_a_server_that_will_not_hear_us_is_told_with_the_token_and_its_reason(server, client, token_file, status):
    server.answer = lambda asked: says({"error": "Not\x1b[31m the\nright one."}, status)
    with pytest.raises(TokenRefused, match=rf"{token_file} \(status {status}: Not \[31m the right one\.\)"):
        register(client)


@pytest.mark.parametrize(
    "answer",
    [
        says({"error": "The chain is away."}, 500),
        Says(status=502, content=b"<html>Bad gateway</html>"),
        Says(status=400, content=b"<html>Bad request</html>"),
        Says(status=404, content=b"<html>Not found</html>"),
        Says(status=404, content=b"[1"),
        Says(status=429),
        Says(content=b"<html>Welcome</html>"),
        Says(content=b""),
        Says(content=b"{"),
        Says(content=b"\xff\xfe"),
        Says(content=b"[" * 60_000),
        Says(content=b" " * (MAX_ANSWER_BYTES + 1)),
        says(None),
        says([HASH]),
        says({}),
        says({"hash": 5}),
        says({"hash": None}),
        says({"hash": "0x12"}),
        says({"hash": HASH + "\n"}),
    ],
)
def test_failures_of_the_server_and_answers_that_make_no_sense_are_worth_another_try(server, client, answer):
    server.answer = lambda asked: answer
    with pytest.raises(LoginServerTrouble) as caught:
        register(client)
    assert server.url.removesuffix("/api/") in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(list(ACCOUNT)),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*ACCOUNT, *HEALTH, "error", "hash"]), inner),
    ).map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from([200, 200, 400, 401, 404, 418, 500]),
)
def test_whatever_it_says_only_the_five_errors_come_out(server, client, content, status):
    server.answer = lambda asked: Says(status=status, content=content)
    outcomes = []
    for ask in (client.account, client.health, lambda: register(client)):
        try:
            outcomes.append(ask())
        except (ChainError, WriteRefused) as error:
            outcomes.append(error)
    assert len(outcomes) == 3


# ------------------------------------------------------------------------------------------------------------- silence


def test_a_server_that_is_not_there_is_away(client, server, token_file):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        with pytest.raises(LoginServerAway, match="rl-swarm login"):
            register(LoginClient(url, token_file))


@pytest.mark.parametrize("url", ["localhost:3000/api", "", "http://"])
def test_an_address_that_is_none_is_a_server_that_is_away(token_file, url):
    with pytest.raises(LoginServerAway):
        register(LoginClient(url, token_file))


def test_a_server_that_ends_before_it_answers_is_away(server, client):
    server.answer = lambda asked: HANGS_UP
    with pytest.raises(LoginServerAway):
        register(client)


def test_a_silent_server_is_given_up_in_time(server, client_in_haste):
    def keeps_silent(asked):
        server.released.wait(30)
        return HANGS_UP

    server.answer = keeps_silent
    with pytest.raises(LoginServerTrouble, match="no answer within 1 s"):
        register(client_in_haste)


@pytest.mark.parametrize("drips", [Says(content=b" " * 100, pieces=100), Says(drips_headers=True)])
def test_a_server_that_drips_is_given_up_in_time(server, client_in_haste, drips):
    server.answer = lambda asked: drips
    with pytest.raises(LoginServerTrouble, match="no answer within 1 s"):
        register(client_in_haste)


def test_a_write_may_take_longer_than_other_questions(server, token_file):
    client = LoginClient(server.url, token_file, answer_seconds=0.2, write_seconds=20)
    with _answering_late(server, seconds=0.6):
        assert register(client) == HASH
        with pytest.raises(LoginServerTrouble):
            client.account()


@contextmanager
def _answering_late(server: LoginStandIn, *, seconds: float) -> Iterator[None]:
    late = threading.Event()

    def answer(asked):
        late.wait(seconds)
        return says({"hash": HASH})

    server.answer = answer
    yield
    late.set()


def test_asking_for_the_login_imports_no_web3():
    script = "import sys; import rgym_exp.chain.login_client; sys.exit('web3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
