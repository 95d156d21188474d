"""Who may open the Admin UI: what a program may give, what a page may say, session ids in its place.

It must not know clients or namespaces.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from python_server.monitoring.admin_credentials import SESSION_SECONDS, Credentials

ANN = {"username": "ann", "password": "pw"}
BOB = {"username": "bob", "password": "wp"}


class Moment:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("auth", "accepted"),
    [
        (ANN, [ANN, {"password": "pw", "username": "ann"}]),
        ([ANN, BOB], [ANN, BOB]),
        ((BOB,), [BOB]),
        (lambda given: given == BOB, [BOB]),
        (lambda given: given is None and "truthy", [None]),
        (False, [ANN, BOB, None, {}, {"sessionId": None}]),
    ],
)
def test_who_is_accepted(auth: Any, accepted: list[Any]) -> None:
    credentials = Credentials(auth, Moment())
    for given in (ANN, BOB, None, {}, {"sessionId": None}, {"password": "pw", "username": "ann"}):
        assert credentials.accept(given) is (given in accepted), given


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"username": "ann"},
        {**ANN, "more": 1},
        {"username": "ann", "password": None},
        {"username": "ann", "password": b"pw"},
        {"username": "ann", "password": ["pw"]},
        {"username": True, "password": 1},
        {"username": "ann", "password": "p" * 1_000_000},
        {"username": "ann", "password": deep(100_000)},
        {"username": "ann", "password": "\ud800"},
        {"sessionId": ""},
        {"sessionId": None, **ANN},
        {"sessionId": ["1"]},
        {"sessionId": "1.2"},
        {"sessionId": "9" * 5_000 + ".x"},
        {"sessionId": "\u0663.\xe9"},
        "ann",
        ["ann", "pw"],
        7,
    ],
)
def test_everything_else_is_not(given: Any) -> None:
    assert not Credentials(ANN, Moment()).accept(given)
    assert not Credentials([BOB, ANN], Moment()).accept(given)


def test_a_number_is_no_text() -> None:
    assert not Credentials({"pin": "1"}, Moment()).accept({"pin": 1})
    assert not Credentials({"pin": 1}, Moment()).accept({"pin": True})


@pytest.mark.parametrize("auth", [None, {}, [], (), [{}], [ANN, {}]])
def test_nothing_to_ask_for_is_refused(auth: Any) -> None:
    with pytest.raises(ValueError, match="auth"):
        Credentials(auth, Moment())


@pytest.mark.parametrize("auth", [True, 1, "ann", [ANN, "bob"], b"x"])
def test_what_are_no_credentials_is_refused(auth: Any) -> None:
    with pytest.raises(TypeError, match="auth is"):
        Credentials(auth, Moment())


def test_a_coroutine_lets_nobody_in() -> None:
    async def check(given: Any) -> bool:
        return False

    for auth in (check, partial(check)):
        with pytest.raises(TypeError, match="async-handler"):
            Credentials(auth, Moment())
    with pytest.raises(TypeError, match="async-handler"):  # what it gives would be true
        Credentials(lambda given: Awaitable(), Moment()).accept(ANN)


def test_the_errors_of_a_function_are_its_own() -> None:
    with pytest.raises(KeyError):
        Credentials(lambda given: given["token"] == "x", Moment()).accept({})


def test_a_session_id_is_accepted_by_every_worker_for_a_day() -> None:
    moment = Moment()
    session_id = Credentials([ANN, BOB], moment).session_id()
    assert session_id is not None
    other = Credentials([ANN, BOB], moment)
    assert other.accept({"sessionId": session_id})
    until, _, signature = session_id.partition(".")
    assert not other.accept({"sessionId": f"{int(until) + 1}.{signature}"})
    assert not other.accept({"sessionId": f"{until}.{signature[:-1]}"})
    assert not Credentials([ANN, {**BOB, "password": "new"}], moment).accept({"sessionId": session_id})
    moment.now += SESSION_SECONDS - 1
    assert other.accept({"sessionId": session_id})
    moment.now += 1
    assert not other.accept({"sessionId": session_id})


@pytest.mark.parametrize("auth", [False, lambda given: True])
def test_without_credentials_there_are_no_session_ids(auth: Any) -> None:
    assert Credentials(auth, Moment()).session_id() is None
