"""The outbox's rows: one per write, kept through restarts, apart by account and contract."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.outbox import Outbox, read_outbox


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
    row = outbox.due(time.time())
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
    outbox.postpone(registration, "not now", until=time.time() + 60, counted=True)
    assert take(outbox).peer_id == "QmB"
    outbox.mark_confirmed(registration)
    assert take(outbox).peer_id == "QmA"


def test_what_was_sent_is_looked_after_first(outbox):
    owe_reward(outbox, 3)
    owe_reward(outbox, 4)
    first = take(outbox)
    outbox.postpone(first, "later", until=time.time() + 60, counted=True)
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
        assert other.due(time.time()) is None
        assert other.pending() == 0
        assert other.transactions(5) == []
        other.close()


def test_a_postponed_row_is_due_when_its_time_comes(outbox):
    owe_reward(outbox, 3)
    later = time.time() + 30
    outbox.postpone(take(outbox), "the chain is busy", until=later, counted=True)
    assert outbox.due(time.time()) is None
    assert outbox.next_due() == later
    row = outbox.due(later)
    assert row is not None
    assert row.tries == 1


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
    outbox.postpone(take(outbox), "later", until=time.time() + 1000, counted=True)
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
