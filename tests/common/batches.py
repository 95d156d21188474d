"""Many small values of a test as a few cases: a case alone costs pytest more than such a value takes to try.

It must not know what is tried: a failure carries the value that it had.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def in_batches(name: str, values: Iterable[Any], count: int) -> Callable[[Test], Test]:
    """As `parametrize(name, values)`, with so many values in one case, whose fixtures they share.

        @in_batches("seed", range(300), 30)
        def test_a_story(seed: int) -> None: ...

    The first value that fails ends its case; the failure ends with it (`seed = 17`).
    """
    every = list(values)
    batches = [every[at : at + count] for at in range(0, len(every), count)]

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)
        assert name in signature.parameters, name

        @functools.wraps(test)
        def run(batch: list[Any], **fixtures: Any) -> None:
            for value in batch:
                try:
                    test(**fixtures, **{name: value})
                except BaseException as error:
                    error.add_note(f"{name} = {value!r}")
                    raise

        others = [each for each in signature.parameters.values() if each.name != name]
        batch = inspect.Parameter("batch", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = signature.replace(parameters=[batch, *others])  # type: ignore[attr-defined]
        del run.__wrapped__  # pytest takes what it asks for from this function
        ids = [f"{name}s from {at}" for at in range(0, len(every), count)]
        return pytest.mark.parametrize("batch", batches, ids=ids)(run)

    return decorate
