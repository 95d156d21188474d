"""Values that share a case: each is tried, in order, with the case's fixtures; a failure carries its value.

It must not know a test that has batches.
"""

import inspect
from typing import Any

import pytest

from batches import in_batches


def cases_of(test: Any) -> list[list[int]]:
    (cases,) = (mark.args[1] for mark in test.pytestmark if mark.args[0] == "batch")
    return list(cases)


def test_each_value_is_in_one_case_and_tried_there() -> None:
    tried: list[tuple[str, int]] = []

    @in_batches("number", range(10), 4)
    @pytest.mark.parametrize("word", ["a", "b"])
    def test(word: str, number: int) -> None:
        tried.append((word, number))

    assert cases_of(test) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(inspect.signature(test).parameters) == ["batch", "word"]
    assert {mark.args[0] for mark in test.pytestmark} == {"batch", "word"}  # type: ignore[attr-defined]
    for case in cases_of(test):
        test(batch=case, word="a")
    assert tried == [("a", number) for number in range(10)]


@in_batches("number", range(3), 2)
def test_a_case_has_its_fixtures(tmp_path: Any, number: int) -> None:
    assert not (tmp_path / str(number)).exists()
    (tmp_path / str(number)).touch()
    assert len(list(tmp_path.iterdir())) == number % 2 + 1


def test_a_failure_carries_its_value_and_ends_its_case() -> None:
    tried: list[int] = []

    @in_batches("number", range(5), 5)
    def test(number: int) -> None:
        tried.append(number)
        assert number % 2 == 0

    with pytest.raises(AssertionError) as failed:
        test(batch=[0, 2, 3, 4])
    assert failed.value.__notes__ == ["number = 3"]
    assert tried == [0, 2, 3]


def test_a_name_that_the_test_does_not_have() -> None:
    with pytest.raises(AssertionError, match="somebody"):
        in_batches("somebody", [1], 1)(cases_of)
