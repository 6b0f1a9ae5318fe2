"""The outbox's rows: one per write, kept through restarts, apart by account and contract."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_reading import read_outbox
from rgym_exp.chain.outbox_rows import BlockSeen

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def outbox(path):
    opened = Outbox(path, target="1:0xC", account="0xA")
    yield opened
    opened.close()


def owe_reward(outbox, round, *, peer_id="QmA", reward=1):
    return outbox.add("reward", round=round, stage=0, peer_id=peer_id, payload={"reward": reward})


def take(outbox):
    row = outbox.due(time.monotonic())
    assert row is not None
    return row


def test_a_write_is_owed_once(outbox):
    assert owe_reward(outbox, 3, reward=5) is True
    assert owe_reward(outbox, 3, reward=6) is False
    assert outbox.pending() == 1
    assert take(outbox).payload == {"reward": 5}


def test_rewards_of_other_rounds_and_peers_are_other_writes(outbox):
    owe_reward(outbox, 3)
    owe_reward(outbox, 4)
    owe_reward(outbox, 3, peer_id="QmB")
    assert outbox.pending() == 3


def test_rows_survive_a_restart(outbox, path):
    owe_reward(outbox, 3, reward=-7)
    row = take(outbox)
    outbox.mark_sent(row, hash="0xh", nonce=9, raw=b"signed")
    again = Outbox(path, target="1:0xC", account="0xA")
    found = take(again)
    assert found == dataclasses.replace(row, status="sent", hash="0xh", nonce=9, raw=b"signed")
    again.close()


def test_a_registration_goes_first_and_its_peers_writes_wait_for_it(outbox):
    owe_reward(outbox, 3)
    outbox.add("register", peer_id="QmA")
    owe_reward(outbox, 3, peer_id="QmB")
    registration = take(outbox)
    assert registration.kind == "register"
    outbox.postpone(registration, "not now", until=time.monotonic() + 60, counted=True)
    assert take(outbox).peer_id == "QmB"
    outbox.mark_confirmed(registration)
    assert take(outbox).peer_id == "QmA"


def test_what_was_sent_is_looked_after_first(outbox):
    owe_reward(outbox, 3)
    owe_reward(outbox, 4)
    first = take(outbox)
    outbox.postpone(first, "later", until=time.monotonic() + 60, counted=True)
    second = take(outbox)
    outbox.mark_sent(second, hash="0xh", nonce=0, raw=b"")
    owe_reward(outbox, 5)
    assert take(outbox).round == 4


def test_a_settled_registration_is_opened_again_and_an_open_one_left_alone(outbox):
    outbox.add("register", peer_id="QmA")
    row = take(outbox)
    outbox.mark_sent(row, hash="0xh", nonce=0, raw=b"")
    assert outbox.add("register", peer_id="QmA", again=True) is False
    assert take(outbox).status == "sent"
    outbox.mark_confirmed(row)
    assert outbox.add("register", peer_id="QmA", again=True) is True
    assert take(outbox).status == "waiting"
    assert take(outbox).hash is None


def test_a_row_of_another_contract_or_account_is_never_due(outbox, path):
    owe_reward(outbox, 3)
    for target, account in (("2:0xC", "0xA"), ("1:0xC", "0xB")):
        other = Outbox(path, target=target, account=account)
        assert other.due(time.monotonic()) is None
        assert other.pending() == 0
        assert other.transactions(5) == []
        other.close()


def test_a_postponed_row_is_due_when_its_time_comes(outbox):
    owe_reward(outbox, 3)
    later = time.monotonic() + 30
    outbox.postpone(take(outbox), "the chain is busy", until=later, counted=True)
    assert outbox.due(time.monotonic()) is None
    assert outbox.next_due() == later
    row = outbox.due(later)
    assert row is not None
    assert row.tries == 1


def test_at_a_start_everything_open_is_due_whatever_the_clock_was(outbox, path):
    owe_reward(outbox, 3)
    outbox.postpone(take(outbox), "the chain is busy", until=time.monotonic() + 10**6, counted=True)
    again = Outbox(path, target="1:0xC", account="0xA")
    assert take(again).round == 3
    again.close()


def test_an_uncounted_failure_does_not_bring_giving_up_nearer(outbox):
    owe_reward(outbox, 3)
    outbox.postpone(take(outbox), "nobody there", until=0.0, counted=False)
    assert take(outbox).tries == 0


def test_transactions_are_told_newest_first_with_their_reason(outbox):
    outbox.add("winners", round=3, peer_id="QmA", payload={"winners": ["QmB"]})
    owe_reward(outbox, 3)
    vote = take(outbox)
    outbox.mark_refused(vote, "InvalidVote: the vote is empty or names a peer twice")
    newest, oldest = outbox.transactions(5)
    assert (newest.kind, newest.round, newest.stage, newest.status) == ("winners", 3, None, "refused")
    assert newest.detail.startswith("InvalidVote")
    assert (oldest.kind, oldest.stage, oldest.status) == ("reward", 0, "waiting")
    assert len(outbox.transactions(1)) == 1


def test_old_settled_rows_are_forgotten_and_open_ones_never(path):
    outbox = Outbox(path, target="1:0xC", account="0xA", finished_kept=10)
    owe_reward(outbox, 0)
    outbox.postpone(take(outbox), "later", until=time.monotonic() + 1000, counted=True)
    for round in range(1, 30):
        owe_reward(outbox, round)
        outbox.mark_confirmed(take(outbox))
    kept = outbox.transactions(100)
    assert [each.round for each in kept if each.status == "confirmed"] == list(range(29, 19, -1))
    assert outbox.pending() == 1
    outbox.close()


def test_several_threads_lose_nothing(outbox):
    def owe(start):
        for round in range(start, start + 25):
            owe_reward(outbox, round)

    threads = [threading.Thread(target=owe, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.pending() == 100


def test_onlookers_read_while_the_node_runs(outbox, path):
    owe_reward(outbox, 3)
    pending, transactions = read_outbox(path)
    assert pending == 1
    assert [each.round for each in transactions] == [3]


def test_onlookers_find_nothing_where_there_is_no_outbox(tmp_path):
    assert read_outbox(tmp_path / "none.sqlite") == (0, [])
    assert not (tmp_path / "none.sqlite").exists()


def test_a_damaged_file_is_told_in_a_sentence(path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ChainError, match="move it away"):
        Outbox(path, target="1:0xC", account="0xA")
    with pytest.raises(ChainError, match="can't be read"):
        read_outbox(path)


# ----------------------------------------------------------------------------------------------------- bets and claims

MARKET, OTHER_MARKET = "0xM", "0xN"


def owe_bet(outbox, game, clue, *, stake=5, choice=0, contract=MARKET, peer_id="QmA"):
    payload = {"choice": choice, "stake": stake}
    return outbox.add("bet", round=game, stage=clue, peer_id=peer_id, contract=contract, payload=payload)


def owe_claim(outbox, game):
    return outbox.add("claim", round=game, peer_id="QmA", contract=MARKET, again=True)


def bet_on(outbox, game, clue, *, contract=MARKET):
    return outbox.find("bet", round=game, stage=clue, peer_id="QmA", contract=contract)


def test_a_clue_is_bet_on_once_in_each_market(outbox):
    assert owe_bet(outbox, 0, 1, stake=5) is True
    assert owe_bet(outbox, 0, 1, stake=9, choice=2) is False
    assert owe_bet(outbox, 0, 1, contract=OTHER_MARKET) is True
    assert owe_bet(outbox, 0, 2) is True
    assert owe_bet(outbox, 1, 1) is True
    assert outbox.pending() == 4
    assert bet_on(outbox, 0, 1).payload == {"choice": 0, "stake": 5}
    assert bet_on(outbox, 0, 1).contract == MARKET


@pytest.mark.parametrize("settle", ["mark_confirmed", "mark_refused"])
def test_a_settled_bet_is_never_opened_again(outbox, settle):
    owe_bet(outbox, 0, 1)
    getattr(outbox, settle)(take(outbox), "so it is")
    assert owe_bet(outbox, 0, 1) is False
    assert outbox.pending() == 0
    assert bet_on(outbox, 0, 1).detail == "so it is"
    with pytest.raises(ValueError, match="a bet is owed once"):
        outbox.add("bet", round=0, stage=1, peer_id="QmA", contract=MARKET, again=True)


def test_a_refused_claim_is_opened_again_and_a_confirmed_one_left_alone(outbox):
    assert owe_claim(outbox, 0) is True
    assert owe_claim(outbox, 0) is False
    outbox.mark_refused(take(outbox), "GameStillOpen")
    assert owe_claim(outbox, 0) is True
    assert take(outbox).detail == ""
    outbox.mark_confirmed(take(outbox))
    assert owe_claim(outbox, 0) is False
    assert outbox.pending() == 0


def test_what_was_never_owed_is_not_found(outbox):
    owe_bet(outbox, 0, 1)
    assert bet_on(outbox, 0, 2) is None
    assert bet_on(outbox, 0, 1, contract=OTHER_MARKET) is None
    assert outbox.find("claim", round=0, peer_id="QmA", contract=MARKET) is None


def test_open_stakes_are_those_of_waiting_and_sent_bets_of_the_peer_in_that_market(outbox):
    large = 10**30  # beyond SQLite's integers
    owe_bet(outbox, 0, 0, stake=large)
    outbox.mark_confirmed(take(outbox))
    owe_bet(outbox, 0, 1, stake=large)
    outbox.mark_sent(take(outbox), hash="0xh", nonce=1, raw=b"")
    owe_bet(outbox, 0, 2, stake=1)
    owe_bet(outbox, 0, 2, stake=7, contract=OTHER_MARKET)
    owe_bet(outbox, 0, 2, stake=8, peer_id="QmB")
    owe_reward(outbox, 0, reward=9)
    assert outbox.open_stakes(peer_id="QmA", contract=MARKET) == large + 1


def test_bets_and_claims_wait_for_the_registration_and_bets_go_before_rewards(outbox):
    owe_reward(outbox, 3)
    owe_claim(outbox, 0)
    owe_bet(outbox, 1, 0)
    outbox.add("register", peer_id="QmA")
    order = []
    while (row := outbox.due(time.monotonic())) is not None:
        order.append(row.kind)
        outbox.mark_confirmed(row)
    assert order == ["register", "bet", "reward", "claim"]


def test_bets_are_told_with_game_and_clue(outbox):
    owe_claim(outbox, 6)
    owe_bet(outbox, 7, 2)
    bet, claim = outbox.transactions(5)
    assert (bet.kind, bet.round, bet.stage, bet.title) == ("bet", 7, 2, "bet on clue 2 of game 7")
    assert (claim.kind, claim.round, claim.stage, claim.title) == ("claim", 6, None, "claim of game 6")


def test_rewards_without_end_do_not_push_out_a_bet(path):
    outbox = Outbox(path, target="1:0xC", account="0xA", finished_kept=3)
    owe_bet(outbox, 0, 0)
    outbox.mark_confirmed(take(outbox))
    for round in range(20):
        owe_reward(outbox, round)
        outbox.mark_confirmed(take(outbox))
    assert owe_bet(outbox, 0, 0) is False
    for clue in range(1, 6):
        owe_bet(outbox, 0, clue)
        outbox.mark_confirmed(take(outbox))
    assert [clue for clue in range(6) if bet_on(outbox, 0, clue)] == [3, 4, 5]
    assert len([each for each in outbox.transactions(100) if each.kind == "reward"]) <= 3
    outbox.close()


# ------------------------------------------------------------------------------- a chain that was set back


def test_rewards_and_votes_of_rounds_that_the_contract_is_not_at_can_be_left_out(outbox):
    owe_reward(outbox, 7)
    outbox.add("winners", round=8, peer_id="QmA", payload={"winners": ["QmB"]})
    assert outbox.is_ahead(7) and not outbox.is_ahead(8)
    assert outbox.due(time.monotonic(), at_round=6) is None and outbox.next_due(at_round=6) is None
    row = outbox.due(time.monotonic(), at_round=7)
    assert row is not None and row.round == 7
    outbox.mark_confirmed(row)
    assert outbox.due(time.monotonic(), at_round=7) is None
    assert outbox.pending() == 1


def test_what_the_chain_lost_is_owed_again_unless_somebody_else_sees_to_it(outbox, path):
    owe_reward(outbox, 7)
    outbox.mark_sent(take(outbox), hash="0x7", nonce=4, raw=b"signed")
    outbox.mark_confirmed(take(outbox))
    lost = outbox.confirmed_before(None)
    assert lost is not None and outbox.confirmed_before(lost) is None
    outbox.owe_again(lost, "lost")
    waiting = take(outbox)
    assert (waiting.status, waiting.tries, waiting.nonce, waiting.raw, waiting.detail) == (
        "waiting",
        0,
        None,
        None,
        "lost",
    )
    outbox.mark_sent(waiting, hash="0x8", nonce=1, raw=b"again")
    outbox.owe_again(lost, "lost")
    assert take(outbox).status == "sent"


def test_the_block_that_was_seen_last_outlasts_a_restart(outbox, path):
    assert outbox.block_seen() is None
    outbox.see_block(7, "0xab", is_behind=False)
    outbox.see_block(9, "0xcd", is_behind=True)
    again = Outbox(path, target="1:0xC", account="0xA")
    assert again.block_seen() == BlockSeen(number=9, hash="0xcd", is_behind=True)
    again.close()
    other = Outbox(path, target="1:0xD", account="0xA")
    assert other.block_seen() is None
    other.close()


# -------------------------------------------------------------------------------------------- files of earlier versions

FIRST_SCHEMA = """
CREATE TABLE writes (
    id INTEGER PRIMARY KEY, target TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL, round INTEGER NOT NULL,
    stage INTEGER NOT NULL, peer_id TEXT NOT NULL, payload TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0, detail TEXT NOT NULL DEFAULT '', hash TEXT,
    nonce INTEGER, raw BLOB, changed REAL NOT NULL,
    UNIQUE (target, account, kind, round, stage, peer_id)
);
CREATE INDEX writes_by_status ON writes (status, next_try);
"""
FIRST_ROWS = [
    # id, kind, round, stage, payload, status, tries, next_try, detail, hash, nonce, raw, changed
    (1, "register", -1, -1, "{}", "confirmed", 0, 0.0, "", "0x1", 0, None, 1.5),
    (4, "reward", 8, 0, '{"reward": 5}', "refused", 3, 0.0, "InvalidRoundNumber", None, None, None, 2.5),
    (5, "reward", 9, 0, '{"reward": -2}', "sent", 1, 0.0, "slow", "0x5", 7, b"signed", 3.5),
    (9, "winners", 9, -1, '{"winners": ["QmB"]}', "waiting", 2, 99.0, "later", None, None, None, 4.5),
]


KEPT_ROWS = [(*row[:7], *row[8:]) for row in FIRST_ROWS]
"""When a row is due is not kept: at a start, everything open is."""


@pytest.fixture
def first_file(path):
    """An outbox as the first version left it, with rows of every status."""
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FIRST_SCHEMA)
        names = "id, kind, round, stage, payload, status, tries, next_try, detail, hash, nonce, raw, changed"
        connection.executemany(
            f"INSERT INTO writes (target, account, peer_id, {names}) VALUES ('1:0xC', '0xA', 'QmA'{13 * ', ?'})",
            FIRST_ROWS,
        )
        connection.commit()
    return path


def rows_of(path):
    names = "id, kind, round, stage, payload, status, tries, detail, hash, nonce, raw, changed"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert {each[0] for each in connection.execute("SELECT target || account || peer_id FROM writes")} == {
            "1:0xC0xAQmA"
        }
        return connection.execute(f"SELECT {names} FROM writes ORDER BY id").fetchall()


def test_a_file_of_the_first_version_goes_on_with_every_row(first_file):
    outbox = Outbox(first_file, target="1:0xC", account="0xA")
    assert rows_of(first_file) == KEPT_ROWS
    assert outbox.pending() == 2
    sent = take(outbox)
    assert (sent.round, sent.hash, sent.nonce, sent.raw, sent.contract) == (9, "0x5", 7, b"signed", "")
    assert owe_reward(outbox, 8) is False  # still one of its kind
    assert owe_bet(outbox, 8, 0) is True
    outbox.close()
    again = Outbox(first_file, target="1:0xC", account="0xA")
    assert again.pending() == 3
    again.close()


def test_a_file_of_the_second_version_goes_on_with_the_contracts_that_its_rows_name(first_file):
    with contextlib.closing(sqlite3.connect(first_file)) as connection:
        connection.execute("ALTER TABLE writes ADD COLUMN contract TEXT NOT NULL DEFAULT ''")
        connection.execute("UPDATE writes SET kind = 'claim', contract = '0xM' WHERE id = 4")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    outbox = Outbox(first_file, target="1:0xC", account="0xA")
    assert [row[:2] for row in rows_of(first_file)] == [(1, "register"), (4, "claim"), (5, "reward"), (9, "winners")]
    assert outbox.find("claim", round=8, stage=0, peer_id="QmA", contract="0xM") is not None
    assert outbox.block_seen() is None
    outbox.close()


def test_onlookers_read_a_file_of_the_first_version_without_changing_it(first_file):
    pending, rows = read_outbox(first_file)
    assert (pending, len(rows)) == (2, 4)
    with contextlib.closing(sqlite3.connect(first_file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)


_KILLED_AT = """
import os, signal, sqlite3, sys
from pathlib import Path
import rgym_exp.chain.outbox as outbox
real = sqlite3.connect
class Killed(sqlite3.Connection):
    def execute(self, statement, *values):
        if statement.strip().startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *values)
outbox.sqlite3.connect = lambda *given, **options: real(*given, factory=Killed, **options)
outbox.Outbox(Path(sys.argv[1]), target="1:0xC", account="0xA")
"""


@pytest.mark.parametrize("statement", ["CREATE TABLE", "INSERT INTO", "DROP TABLE", "CREATE INDEX", "COMMIT"])
def test_a_crash_amid_the_change_leaves_the_earlier_file_as_it_was(first_file, statement):
    done = subprocess.run([sys.executable, "-c", _KILLED_AT, str(first_file), statement], cwd=REPOSITORY)
    assert done.returncode == -signal.SIGKILL
    with contextlib.closing(sqlite3.connect(first_file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert [each[0] for each in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "writes"
        ]
    assert rows_of(first_file) == KEPT_ROWS
    outbox = Outbox(first_file, target="1:0xC", account="0xA")
    assert rows_of(first_file) == KEPT_ROWS
    outbox.close()


def test_two_processes_may_open_a_file_of_the_first_version_at_once(first_file):
    opened = []
    threads = [
        threading.Thread(target=lambda: opened.append(Outbox(first_file, target="1:0xC", account="0xA")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.pending() for each in opened] == [2, 2, 2, 2]
    assert rows_of(first_file) == KEPT_ROWS
    for each in opened:
        each.close()


def test_a_file_of_a_later_version_is_not_touched(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 77")
    with pytest.raises(ChainError, match="later version.*77.*Update this installation"):
        Outbox(path, target="1:0xC", account="0xA")


@pytest.mark.timeout(60)  # a deadlock holds Python's own lock, so that nothing in this process could notice it
def test_two_threads_that_look_for_what_is_due_never_wait_for_each_other(outbox):
    for round in range(20):
        owe_reward(outbox, round)

    def look():
        for _ in range(2000):
            outbox.due(time.monotonic())
            outbox.next_due()
        return outbox.pending()

    with ThreadPoolExecutor(2) as pool:
        lookers = [pool.submit(look) for _ in range(2)]
        assert [looker.result() for looker in lookers] == [20, 20]
