"""Questions drawn ahead: new ones first, others' when they run out, and none twice at once."""

from __future__ import annotations

from rgym_exp.judge.question_stock import Drawn, QuestionStock
from rgym_exp.types import Problem


def drawn(number: int) -> Drawn:
    return Drawn(number=number, problem=Problem(slot=-1, dataset="d", question=str(number), entry={}))


def stock_of(count: int, **sizes: int) -> QuestionStock:
    stock = QuestionStock(**sizes)
    for number in range(count):
        stock.add(drawn(number))
    return stock


def numbers(taken: list[Drawn]) -> list[int]:
    return [each.number for each in taken]


def test_everybody_gets_new_questions_as_long_as_there_are_any() -> None:
    stock = stock_of(6)
    assert [numbers(stock.take(2)) for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_questions_that_others_had_fill_up_what_is_missing_and_none_comes_twice() -> None:
    stock = stock_of(5)
    stock.take(4)
    for _ in range(50):
        taken = numbers(stock.take(3))
        assert len(set(taken)) == 3
    assert 4 in numbers(stock.take(5))


def test_there_are_no_more_different_ones_than_were_drawn() -> None:
    assert stock_of(0).take(3) == []
    assert sorted(numbers(stock_of(2).take(3))) == [0, 1]


def test_so_many_are_wanted_as_are_missing_ahead() -> None:
    stock = stock_of(3, ahead=4)
    assert stock.wanted == 1
    stock.take(2)
    assert stock.wanted == 3


def test_nothing_is_handed_out_again_while_there_is_little_to_choose_from() -> None:
    stock = stock_of(3, enough=4)
    stock.take(2)
    assert (stock.has(1), stock.has(2), stock.has_enough) == (True, False, False)
    stock.add(drawn(3))
    stock.take(2)
    assert (stock.has(1), stock.has(4), stock.has_enough) == (True, True, True)


def test_old_problems_are_forgotten_and_old_questions_are_not_handed_out_again() -> None:
    stock = stock_of(5, again=2, kept=3)
    assert [stock.problem(number) is None for number in range(5)] == [True, True, False, False, False]
    stock.take(5)
    assert sorted(numbers(stock.take(5))) == [3, 4]
