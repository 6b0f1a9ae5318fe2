"""What is known of the next transaction without asking, and when it must be asked."""

from __future__ import annotations

from rgym_exp.chain.last_sent import FREE_SECONDS, GAS_TO_SPARE, SHARED_SECONDS, LastSent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def known(clock: Clock | None = None, *, is_free: bool = True) -> LastSent:
    """Of an account that has a reward in a block, its fifth transaction."""
    last = LastSent(clock=clock or Clock())
    last.asked("submitReward", gas=70_000, data_bytes=200, is_free=is_free)
    last.confirmed(4, made=5)
    return last


def test_the_next_of_its_kind_needs_no_question_and_gets_gas_to_spare() -> None:
    assert known().take("submitReward", data_bytes=200) == (70_000 + GAS_TO_SPARE, 5)


def test_a_number_is_taken_once_until_it_is_in_a_block() -> None:
    last = known()
    last.take("submitReward", data_bytes=200)
    assert last.take("submitReward", data_bytes=200) is None
    last.confirmed(5, made=6)
    assert last.take("submitReward", data_bytes=200) == (70_000 + GAS_TO_SPARE, 6)


def test_what_was_never_estimated_or_is_longer_is_asked_for() -> None:
    assert known().take("submitWinners", data_bytes=10) is None
    assert known().take("submitReward", data_bytes=201) is None


def test_the_largest_estimate_counts() -> None:
    last = known()
    last.asked("submitReward", gas=50_000, data_bytes=250, is_free=True)
    assert last.take("submitReward", data_bytes=250) == (70_000 + GAS_TO_SPARE, 5)


def test_on_a_chain_with_fees_everything_is_asked() -> None:
    assert known(is_free=False).take("submitReward", data_bytes=200) is None


def test_whether_a_chain_has_fees_is_asked_now_and_then() -> None:
    clock = Clock()
    last = known(clock)
    clock.now += FREE_SECONDS
    assert last.take("submitReward", data_bytes=200) is None


def test_an_account_that_others_use_is_asked_for_its_number() -> None:
    last = known()
    last.confirmed(5, made=7)  # somebody else's came after it
    assert last.take("submitReward", data_bytes=200) is None

    clock = Clock()
    last = known(clock)
    last.failed()
    last.confirmed(5, made=6)
    assert last.take("submitReward", data_bytes=200) is None
    clock.now += SHARED_SECONDS
    last.asked("submitReward", gas=70_000, data_bytes=200, is_free=True)
    last.confirmed(6, made=7)
    assert last.take("submitReward", data_bytes=200) is not None
