"""Handlers whose arguments are annotated: what is converted, what is refused and how, what stays as it was.

It must not know a socket.
"""

import functools
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar, Union

import msgspec
import pytest

from python_server.api import event_checks
from python_server.api.event_checks import SAID_MAX_CHARACTERS, check_of
from python_server.api.python_socketio import Namespace as ServerNamespace
from python_server.socketio.client import InvalidArguments
from served_server import Served

Of = TypeVar("Of")


class Said(msgspec.Struct):
    text: str
    count: int = 1


@dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    loud: bool


class Box(msgspec.Struct, Generic[Of]):
    inside: Of


class Node(msgspec.Struct):
    child: "Node | None" = None


class Yes(msgspec.Struct, tag="yes"):
    why: str


class No(msgspec.Struct, tag="no"):
    pass


class Colour(Enum):
    RED = "red"


@dataclass(slots=True)
class Positive:
    number: int

    def __post_init__(self) -> None:
        if self.number == 0:
            raise LookupError("a bug of the application")
        if self.number < 0:
            raise ValueError("must be above 0")


class Unhashable(msgspec.Struct, frozen=True):
    number: int

    def __hash__(self) -> int:
        raise OverflowError("too large to be hashed")


class Pair(NamedTuple):
    first: int


class Bytes(msgspec.Struct):
    data: bytes


class Foreign:
    pass


Short = Annotated[str, msgspec.Meta(max_length=5)]
Saids = NewType("Saids", list[Said])
TEXT = {"text": "a"}


def annotated(*kinds: Any) -> Callable[..., Any]:
    """A function of one parameter for each of them."""

    names = {f"value{place}": kind for place, kind in enumerate(kinds)}
    space: dict[str, Any] = {}
    exec(f"def handler({', '.join(names)}): ...", space)
    handler: Callable[..., Any] = space["handler"]
    handler.__annotations__ = names
    return handler


def converted(kind: Any, value: Any) -> Any:
    check = check_of(annotated(kind))
    assert check is not None
    (result,) = check.convert((value,))
    return result


def refused(kind: Any, *values: Any) -> tuple[str, str]:
    check = check_of(kind if isinstance(kind, FunctionType) else annotated(kind))
    assert check is not None
    with pytest.raises(InvalidArguments) as caught:
        check.convert(values)
    return caught.value.answer["error"], caught.value.answer["path"]


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"child": value}
    return value


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Said, {"text": "a", "count": 2}, Said("a", 2)),
        (Said, {"text": "a", "unknown": 5}, Said("a")),
        (Point, {"x": 1}, Point(1.0)),
        (Options, {"loud": True}, {"loud": True}),
        (list[Said], [TEXT], [Said("a")]),
        (dict[int, Said], {"7": TEXT}, {7: Said("a")}),
        (Said | None, None, None),
        (Said | None, TEXT, Said("a")),
        (Said | str, "a", "a"),
        (Yes | No, {"type": "yes", "why": "so"}, Yes("so")),
        (Box[int], {"inside": 5}, Box(5)),
        (Box[Said], {"inside": TEXT}, Box(Said("a"))),
        (Saids, [TEXT], [Said("a")]),
        (Short, "abc", "abc"),
        (Positive, {"number": 2}, Positive(2)),
        (Bytes, {"data": b"\x00"}, Bytes(b"\x00")),
        (Box[Any], {"inside": [{}]}, Box([{}])),
        (Box[int], {"inside": 2**80}, Box(2**80)),
    ],
)
def test_what_is_annotated_is_what_the_handler_gets(kind: Any, value: Any, result: Any) -> None:
    assert converted(kind, value) == result


def test_as_many_levels_as_a_packet_may_have() -> None:
    found, depth = converted(Node, nested(199)), 0
    while found.child is not None:
        found, depth = found.child, depth + 1
    assert depth == 199


@pytest.mark.parametrize(
    ("kind", "value", "error", "path"),
    [
        (Said, 5, "Expected `object`, got `int`", "$[0]"),
        (Said, {}, "Object missing required field `text`", "$[0]"),
        (Said, {"text": "a", "count": True}, "Expected `int`, got `bool`", "$[0].count"),
        (Said, {"text": "a", "count": 1.5}, "Expected `int`, got `float`", "$[0].count"),
        (Said, {"text": b"a"}, "Expected `str`, got `bytes`", "$[0].text"),
        (list[Said], [TEXT, {"text": None}], "Expected `str`, got `null`", "$[0][1].text"),
        (dict[str, Said], {"a secret": {}}, "Object missing required field `text`", "$[0][...]"),
        (dict[int, Said], {"a secret": TEXT}, "Expected `int`, got `str`", "$[0]"),
        (Short, "abcdef", "Expected `str` of length <= 5", "$[0]"),
        (Positive, {"number": -1}, "must be above 0", "$[0]"),
        (Bytes, {"data": "AAAA"}, "Expected `bytes`, got `str`", "$[0].data"),
        (Box[set[Any]], {"inside": [[]]}, "Expected a hashable value, got `list`", "$[0].inside[0]"),
        (Yes | No, {"type": "\ud800"}, "'utf-8' codec can't encode character '\\ud800' in position 0", "$"),
        (Box[set[Unhashable]], {"inside": [{"number": 1}]}, "too large to be hashed", "$"),
        (Box[float], {"inside": 10**400}, "Number out of range", "$[0].inside"),
        (Box[Colour], {"inside": "x" * 999}, f"Invalid enum value '{'x' * 180}", "$[0].inside"),
        (Box[Literal["a"]], {"inside": "b"}, "Invalid enum value 'b'", "$[0].inside"),
        (Box[Pair], {"inside": []}, "Expected `array` of length 1, got 0", "$[0].inside"),
        (Yes | No, {"type": "maybe"}, "Invalid value 'maybe'", "$[0].type"),
    ],
)
def test_what_is_refused_and_where(kind: Any, value: Any, error: str, path: str) -> None:
    said, place = refused(kind, value)
    assert (said[: len(error)], place) == (error, path)
    assert len(said) <= SAID_MAX_CHARACTERS


def test_what_is_no_number_stays_one_unless_it_is_bounded() -> None:
    assert math.isnan(converted(Box[float], {"inside": math.nan}).inside)
    bounded = Box[Annotated[float, msgspec.Meta(ge=0)]]
    assert refused(bounded, {"inside": math.nan}) == ("Expected `float` >= 0.0", "$[0].inside")


def test_what_an_application_raises_besides_is_its_own_fault() -> None:
    check = check_of(annotated(Positive))
    assert check is not None
    with pytest.raises(LookupError, match="a bug"):
        check.convert(({"number": 0},))


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        (str,),
        (int, dict[str, int], list[str]),
        (Any,),
        (object,),
        (Foreign,),
        (Pair,),
        (Colour,),
        (5,),
        (Callable[[int], str],),
        (None,),
        (Annotated[dict[str, Any], Point],),  # a remark of the application's own
    ],
)
def test_other_annotations_ask_for_nothing(kinds: tuple[Any, ...]) -> None:
    assert check_of(annotated(*kinds)) is None


def test_a_checked_handlers_other_arguments_are_checked_where_json_has_a_word_for_them() -> None:
    check = check_of(annotated(Said, int, Any, Foreign, dict[str, Foreign]))
    assert check is not None
    assert check.convert((TEXT, 5, b"x", 6, 7)) == (Said("a"), 5, b"x", 6, 7)
    assert refused(annotated(Said, int), TEXT, "5") == ("Expected `int`, got `str`", "$[1]")


@pytest.mark.parametrize(
    "kind", [Point | Options, Said | Point, list[Said | Point], Box[Foreign], type[Said]]
)
def test_what_can_never_be_converted_is_refused_at_registration(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"the arguments of handler cannot be checked: .* \[no-schema\]$"):
        check_of(annotated(kind))


class Alias:
    """As `type Alias = list[Alias | Said]` of Python 3.12 is one."""

    __value__: Any

    def __call__(self) -> None:
        """Without it `Union` takes it for no type."""


def test_an_alias_that_is_part_of_itself() -> None:
    plain, of_records = Alias(), Alias()
    plain.__value__ = list[plain]  # type: ignore[valid-type]
    of_records.__value__ = dict[str, Union[of_records, Said]]  # type: ignore[valid-type]  # noqa: UP007
    assert check_of(annotated(plain)) is None
    with pytest.raises(TypeError, match=r"it is part of itself: name it as a Struct \[no-schema\]"):
        check_of(annotated(of_records))


def test_how_many_arguments_there_may_be() -> None:
    def one(said: Said) -> None: ...
    def some(said: Said, count: int = 3, *, ignored: str = "") -> None: ...
    def many(first: int, *saids: Said) -> None: ...

    assert refused(one) == ("Expected 1 arguments, got 0", "$")
    assert refused(one, TEXT, TEXT) == ("Expected 1 arguments, got 2", "$")
    assert refused(some, TEXT, 1, 2) == ("Expected 1 to 2 arguments, got 3", "$")
    assert refused(many) == ("Expected at least 1 arguments, got 0", "$")
    assert refused(many, 1, TEXT, TEXT, 5) == ("Expected `object`, got `int`", "$[3]")
    check = check_of(many)
    assert check is not None
    assert check.convert((1,)) == (1,)
    assert check.convert((1, *[TEXT] * 5)) == (1, *[Said("a")] * 5)
    assert check_of(some).convert((TEXT,)) == (Said("a"),)  # type: ignore[misc]


class Callee:
    def __call__(self, said: "Said") -> None: ...

    def method(self, said: "Said") -> None: ...

    @staticmethod
    def static(said: Said) -> None: ...


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def two(first: str, said: "Said") -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        Callee(),
        Callee().method,
        Callee.static,
        guarded(Callee().method),
        guarded(Callee()),
        functools.partial(two, "a"),
        functools.partial(guarded(two), "a"),
        guarded(guarded(two.__get__("a"))),
    ],
)
def test_whatever_can_be_called(function: Any) -> None:
    check = check_of(function)
    assert check is not None
    assert check.convert((TEXT,)) == (Said("a"),)


def test_what_has_no_signature_is_called_as_before() -> None:
    assert check_of(dict) is None
    assert check_of(print) is None


def test_a_name_that_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    module = ModuleType("later")
    exec("def handler(value: 'list[Later]'): ...", vars(module))
    check = check_of(module.handler)
    assert check is not None
    module.Later = Said  # type: ignore[attr-defined]
    assert check.convert(([TEXT],)) == ([Said("a")],)
    assert not caplog.records


def test_a_field_whose_type_comes_later() -> None:
    module = ModuleType("later_field")
    sys.modules["later_field"] = module
    try:
        exec(
            "import msgspec\nclass Outer(msgspec.Struct):\n  inner: 'Inner'\ndef handler(value: Outer): ...",
            vars(module),
        )
        check = check_of(module.handler)
        assert check is not None
        with pytest.raises(NameError):  # each time: it is never called with what was not looked at
            check.convert(({"inner": TEXT},))
        module.Inner = Said  # type: ignore[attr-defined]
        assert check.convert(({"inner": TEXT},))[0].inner == Said("a")
    finally:
        del sys.modules["later_field"]


def test_a_name_that_comes_later_and_can_never_be_converted() -> None:
    """It is the application's fault, not that of the client whose event is the first."""
    module = ModuleType("later")
    exec("def handler(value: 'Later'): ...", vars(module))
    check = check_of(module.handler)
    assert check is not None
    module.Later = Said | Point  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.raises(TypeError, match=r"\[no-schema\]$"):
            check.convert((TEXT,))


def test_a_name_that_never_comes_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """As of a type that is imported for a type checker alone: the handler gets what it always got."""
    space: dict[str, Any] = {}
    exec("def handler(value: 'Nowhere', other: int): ...", space)
    check = check_of(space["handler"])
    assert check is not None
    with caplog.at_level(logging.WARNING, "python_server"):
        assert check.convert((TEXT, "x")) == (TEXT, "x")
        assert check.convert((1, 2, 3)) == (1, 2, 3)
    (record,) = caplog.records
    assert "handler are not checked: value: Nowhere cannot be resolved" in record.getMessage()


def test_under_drop_in_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_checks.CHOSEN, "checks", False)
    assert check_of(annotated(Said)) is None


# Through Server


def test_a_servers_handlers(served: Served) -> None:
    server = served.server

    class Shop(ServerNamespace):
        def on_say(self, sid: str, said: Said) -> Any:
            return said

    class Routed(Shop):
        def trigger_event(self, event: str, *args: Any) -> Any:
            return super().trigger_event(event, *args)

    def say(sid: str, said: Said) -> Any:
        return said

    def star(event: str, sid: str, said: Said) -> Any:
        return said

    def anywhere(namespace: str, sid: str, said: Said) -> Any:
        return said

    server.on("say", say)
    server.on("*", star)
    server.on("far", anywhere, namespace="*")
    server.register_namespace(Shop("/shop"))
    server.register_namespace(Routed("/routed"))
    peer = served.peer()
    peer.say("0")
    for namespace in ("/shop", "/routed"):
        peer.say(f"0{namespace},")
    peer.heard()
    for event, begin in (
        ("say", ""),
        ("else", ""),
        ("say", "/shop,"),
        ("say", "/routed,"),
        ("far", "/shop,"),
    ):
        peer.say(f'2{begin}1["{event}",{{"text":"a"}}]', f'2{begin}2["{event}",5]')
        assert peer.heard() == [
            f'3{begin}1[{{"text":"a","count":1}}]',
            f'3{begin}2[{{"error":"Expected `object`, got `int`","path":"$[0]"}}]',
        ]


def test_a_servers_credentials(served: Served) -> None:
    met: list[Any] = []

    def connect(sid: str, environ: Any, auth: Said) -> None:
        met.append(auth)

    served.server.on("connect", connect)
    peer = served.peer()
    peer.say('0{"text":5}')
    assert peer.heard() == [
        '4{"message":"Invalid data at $.text: Expected `str`, got `int`",'
        '"data":{"error":"Expected `str`, got `int`","path":"$.text"}}'
    ]
    peer = served.peer()
    peer.say('0{"text":"a"}')
    assert met == [Said("a")]
