"""Saying once that something fails, and once that it works again."""

import logging

import pytest

from rgym_exp.base.outage import Outage

LOG = logging.getLogger("rl_swarm.test")


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=LOG.name)


def test_however_often_it_fails_one_line_says_so_and_one_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(LOG, failing="The lamp is out: %s", works="The lamp is lit again.")
    for reason in ("no oil", "no oil", "no wick"):
        outage.fails(reason)
    assert outage.trouble == "no wick"
    outage.works()
    outage.works()
    assert (outage.trouble, caplog.messages) == (None, ["The lamp is out: no oil", "The lamp is lit again."])


def test_what_fails_anew_is_said_anew(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(LOG, failing="%s")
    for reason in ("first", "second"):
        outage.fails(reason)
        outage.works()
    assert caplog.messages == ["first", "second"]


def test_a_worse_outage_is_said_although_a_lesser_one_was(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(LOG, failing="%s")
    outage.fails("a pause that was asked for", level=logging.INFO)
    outage.fails("no answer")
    outage.fails("another pause", level=logging.INFO)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "a pause that was asked for"),
        (logging.WARNING, "no answer"),
    ]


def test_a_short_outage_that_is_nobodys_concern_is_not_said_nor_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(LOG, failing="%s", works="over", quiet=1)
    outage.fails("once")
    assert outage.trouble is None
    outage.works()
    outage.fails("once")
    outage.fails("twice")
    assert (outage.trouble, caplog.messages) == ("twice", ["twice"])


def test_an_error_without_words_is_told_by_its_kind() -> None:
    outage = Outage(LOG, failing="%s")
    outage.fails(TimeoutError())
    assert outage.trouble == "TimeoutError"
