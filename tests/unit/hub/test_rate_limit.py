from __future__ import annotations

from rgym_exp.hub import rate_limit
from rgym_exp.hub.rate_limit import RateLimit


def test_a_burst_is_allowed_and_refills_with_time() -> None:
    now = [0.0]
    limit = RateLimit(per_second=2, burst=3, clock=lambda: now[0])
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]
    now[0] += 0.5
    assert [limit.allow("a"), limit.allow("a")] == [True, False]
    now[0] += 1000
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]


def test_what_is_refused_costs_nothing() -> None:
    limit = RateLimit(per_second=0, burst=3, clock=lambda: 0.0)
    assert [limit.allow("a", 5), limit.allow("a", 3)] == [False, True]


def test_clients_do_not_share_an_allowance() -> None:
    limit = RateLimit(per_second=0, burst=1, clock=lambda: 0.0)
    assert [limit.allow("a"), limit.allow("b"), limit.allow("a")] == [True, True, False]


def test_any_number_of_addresses_fits_in_bounded_memory() -> None:
    limit = RateLimit(per_second=0, burst=1, clock=lambda: 0.0)
    for number in range(rate_limit.MAX_CLIENTS + 10):
        limit.allow(str(number))
    assert not limit.allow(str(rate_limit.MAX_CLIENTS + 9))
    assert limit.allow("0")
