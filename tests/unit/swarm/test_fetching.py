"""For how long a peer is left alone or asked last, because something did not work with it or it served slowly."""

from __future__ import annotations

import pytest

from rgym_exp.swarm.fetching import PeerPauses, SlowServers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_peer_is_left_alone_for_twice_as_long_each_time_until_it_works() -> None:
    clock = Clock()
    pauses = PeerPauses(first_seconds=10.0, longest_seconds=25.0, clock=clock)
    assert not pauses.is_under_way("QmA")
    for pause in (10.0, 20.0, 25.0, 25.0):
        pauses.begin("QmA")
        clock.now += pause - 0.1
        assert pauses.is_under_way("QmA")
        assert not pauses.is_under_way("QmB")
        clock.now += 0.2
        assert not pauses.is_under_way("QmA")
        assert "QmA" in pauses
    pauses.worked("QmA")
    assert "QmA" not in pauses
    pauses.begin("QmA")
    clock.now += 10.1
    assert not pauses.is_under_way("QmA")


def test_only_so_many_pauses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerPauses, "REMEMBERED", 2)
    pauses = PeerPauses(first_seconds=10.0, longest_seconds=20.0, clock=Clock())
    for peer in ("QmA", "QmB", "QmA", "QmC"):
        pauses.begin(peer)
    assert [peer in pauses for peer in ("QmA", "QmB", "QmC")] == [True, False, True]


@pytest.fixture
def slow_servers() -> SlowServers:
    return SlowServers()


def test_with_nothing_held_against_anybody_all_are_asked_alike(slow_servers: SlowServers) -> None:
    assert slow_servers.asked_first(["a", "b"]) == ["a", "b"]
    assert slow_servers.asked_first([]) == []


def test_who_was_slow_is_asked_last_and_who_was_slow_twice_after_that(slow_servers: SlowServers) -> None:
    for peer in ("once", "twice", "twice"):
        slow_servers.was_slow(peer)
    assert slow_servers.asked_first(["twice", "once", "never"]) == ["never"]
    assert slow_servers.asked_first(["twice", "once"]) == ["once"]
    assert slow_servers.asked_first(["twice"]) == ["twice"]


def test_it_is_forgotten_once_the_peer_served_a_share(slow_servers: SlowServers) -> None:
    slow_servers.was_slow("a")
    slow_servers.served("a")
    assert "a" not in slow_servers


@pytest.mark.parametrize(("times", "rounds"), [(1, 3), (2, 4), (1000, 7)])
def test_it_is_forgotten_after_a_few_rounds_and_later_the_more_often_it_was(
    slow_servers: SlowServers, times: int, rounds: int
) -> None:
    for _ in range(times):
        slow_servers.was_slow("a")
    for _ in range(rounds - 1):
        slow_servers.next_round()
    assert "a" in slow_servers
    slow_servers.next_round()
    assert "a" not in slow_servers
