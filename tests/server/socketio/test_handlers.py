"""Which handler serves an event, and what is known of a namespace (socketio/handlers.py).

It must not know packets: handlers are words here.
"""

from typing import Any

import pytest

from python_server.socketio.handlers import Handlers


@pytest.fixture
def handlers() -> Any:
    return Handlers()


# In the order that python-socketio documents: each is found once those before it are not there.
ORDER = [("/n", "e"), ("/n", "*"), ("*", "e"), ("*", "*")]


@pytest.mark.parametrize("first", range(6))
def test_the_first_that_is_there_serves_an_event(handlers: Any, first: int) -> None:
    for namespace, event in ORDER[first:]:
        handlers.on(namespace, event, f"{namespace} {event}")
    if first <= 4:
        handlers.on_namespace("/n", "whole /n")
    handlers.on_namespace("*", "whole *")
    wanted = [f"{namespace} {event}" for namespace, event in ORDER]
    assert handlers.find("/n", "e") == [*wanted, "whole /n", "whole *"][first]


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_a_catch_all_event_gets_no_event_of_the_namespace_itself(handlers: Any, event: str) -> None:
    for namespace in ("/n", "*"):
        handlers.on(namespace, "*", "any")
    assert handlers.find("/n", event) is None
    handlers.on_namespace("/n", "whole")
    assert handlers.find("/n", event) == "whole"
    handlers.on("*", event, "of any namespace")
    assert handlers.find("/n", event) == "of any namespace"


def test_which_namespaces_clients_may_join(handlers: Any) -> None:
    assert [handlers.serves(name) for name in ("/", "/n", "*")] == [True, False, False]
    handlers.on("/n", "e", "handler")
    handlers.on_namespace("/whole", "handler")
    assert [handlers.serves(name) for name in ("/n", "/whole", "/other")] == [True, True, False]
    handlers.only(["/only"])
    assert [handlers.serves(name) for name in ("/", "/only", "/n")] == [False, True, True]
    handlers.allow(["/also"])
    assert [handlers.serves(name) for name in ("/only", "/also", "/other")] == [True, True, False]
    assert handlers.namespaces() == {"/n", "/whole", "/only", "/also"}
    handlers.allow("*")
    assert handlers.serves("/other")
    assert handlers.namespaces() == {"/n", "/whole", "/only", "/also"}


def test_a_handler_of_any_namespace_is_none_that_clients_join(handlers: Any) -> None:
    handlers.on("*", "e", "handler")
    assert [handlers.serves(name) for name in ("*", "/n")] == [False, False]
    assert handlers.handles("*")
    assert not handlers.handles("/n")


def test_names_that_no_client_has_made_up(handlers: Any) -> None:
    handlers.on("/n", "e", "handler")
    handlers.on("/n", "connect", "handler")
    handlers.on("/n", "*", "handler")
    handlers.on_namespace("/whole", "handler", ["a", "disconnect"])
    rows = [
        ("/n", None),
        ("/n", "e"),
        ("/n", "x"),
        ("/whole", "a"),
        ("/whole", "x"),
        ("/x", None),
        ("/x", "e"),
    ]
    assert [handlers.knows(*row) for row in rows] == [True, True, False, True, False, False, False]
    assert sorted(handlers.names()) == [("/n", "e"), ("/whole", "a")]


def test_events_that_a_handler_of_the_whole_namespace_makes_no_use_of(handlers: Any) -> None:
    handlers.on_namespace("/n", "class", ["used"])
    handlers.on_namespace("*", "any class", ["other"])
    handlers.on("/n", "own", "handler")
    rows = [("/n", "used"), ("/n", "unused"), ("/n", "own"), ("/m", "other"), ("/m", "unused")]
    assert [handlers.ignores(*row) for row in rows] == [False, True, False, False, True]
    handlers.on_namespace("/n", "function")  # which does not tell
    assert not handlers.ignores("/n", "unused")


def test_who_hears_of_rooms(handlers: Any) -> None:
    assert handlers.presence is None
    heard: list[Any] = []
    handlers.on_presence(lambda *move: heard.append(move))
    handlers.presence("join", "/", "a", "red")
    assert heard == [("join", "/", "a", "red")]
