"""Who is asked last for its share because it served slowly lately, and for how long that is held against it."""

from __future__ import annotations

import pytest

from rgym_exp.swarm.fetching import SlowServers


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
