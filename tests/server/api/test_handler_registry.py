"""How handlers are told of: decorators with and without a name, when a handler runs, what it may take.

It must not know hubs or engines: a registry of its own remembers what it is told.
"""

from typing import Any

import pytest

from python_server.api.handler_registry import (
    HandlerRegistry,
    Turn,
    arity_of,
    check_rate,
    method_arity,
    read_turn,
)
from python_server.api.keywords import Function
from python_server.http1.parser import Request
from python_server.wsgi.environ import ServerFacts


class Remembering(HandlerRegistry):
    """Keeps what was registered."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Function, str | None, Turn]] = []

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        self.told.append((event, function, namespace, turn))


def test_every_way_to_register_gives_the_function_back() -> None:
    registry = Remembering()
    plain: Turn = (False, True, None)

    @registry.on("named", namespace="/shop", ordered=False)
    def first() -> None: ...

    @registry.event
    def second() -> None: ...

    @registry.event("/shop")
    def third() -> None: ...

    @registry.event(namespace="/shop", inline=True)
    def fourth() -> None: ...

    assert registry.on("fifth", first) is first
    assert registry.told == [
        ("named", first, "/shop", (False, False, None)),
        ("second", second, None, plain),
        ("third", third, "/shop", plain),
        ("fourth", fourth, "/shop", (True, True, None)),
        ("fifth", first, None, plain),
    ]


def test_a_background_task_runs_and_can_be_joined() -> None:
    ran: list[Any] = []
    Remembering().start_background_task(lambda *args, **named: ran.append((args, named)), 1, b=2).join()
    assert ran == [((1,), {"b": 2})]


def test_the_environ_of_a_handshake_is_its_middlewares_or_made_of_the_servers_facts() -> None:
    registry = Remembering()
    registry._serving(ServerFacts(server_name="shop.test"), lambda environ, start_response: [])
    request = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])
    assert registry._handshake_environ(request)["SERVER_NAME"] == "shop.test"
    request.context = {"seen": True}
    assert registry._handshake_environ(request) == {"seen": True}


@pytest.mark.parametrize("options", [{"inline": True}, {"ordered": False}])
@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_connect_and_disconnect_keep_their_turn(event: str, options: Any) -> None:
    with pytest.raises(TypeError, match=f"{event} is always a client's own turn"):
        read_turn(event, options)


def test_a_turn_is_read_before_there_is_a_function() -> None:
    assert read_turn("e", {"rate_limit": "5/10s", "inline": True}) == (True, True, (5, 10.0))
    with pytest.raises(TypeError, match="the handler of 'e' has no option 'inlined': it has inline, ordered"):
        Remembering().on("e", inlined=True)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("rate", "read"),
    [(None, None), ("20/s", (20, 1.0)), ("100/m", (100, 60.0)), ("1/2h", (1, 7200.0)), ((3, 0.5), (3, 0.5))],
)
def test_how_a_rate_may_be_written(rate: Any, read: tuple[int, float] | None) -> None:
    assert check_rate(rate) == read


@pytest.mark.parametrize("rate", ["20", "20/d", "s/20", "0/s", (1, 0), (1,), 5])
def test_what_no_rate_is(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate_limit is a text like"):
        check_rate(rate)


class Handlers:
    def both(self, reason: str) -> None: ...

    def none(self) -> None: ...

    def many(self, one: str, two: str) -> None: ...


def test_how_many_arguments_a_handler_takes() -> None:
    assert arity_of(lambda auth: None, "connect") == 1
    assert arity_of(lambda: None, "connect") == 0
    assert arity_of(lambda *args: None, "disconnect") == 1
    assert arity_of(dict, "connect") == 1  # nothing says how it may be called
    assert (method_arity(Handlers().both, "disconnect"), method_arity(Handlers().none, "connect")) == (1, 0)
    assert method_arity(lambda: None, "connect") == 0
    with pytest.raises(TypeError, match="the disconnect handler many may take reason, or nothing"):
        method_arity(Handlers().many, "disconnect")
    with pytest.raises(TypeError, match=r"may take auth, or nothing"):
        arity_of(lambda one, two: None, "connect")
