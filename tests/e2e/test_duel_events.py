"""Math Duels over the wire: what a client that is not the page may send, and what it is answered.

It must not know the page.
"""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ordered_clients import OrderedClient

DUELS = Path(__file__).resolve().parents[2] / "examples" / "math_duels"
PATIENCE_SECONDS = 60
DEEP: list[Any] = []
for _ in range(50):
    DEEP = [DEEP]


class Client:
    """One connection; `verdicts` and `lobbies` are what the room was told."""

    def __init__(self, url: str) -> None:
        self._client = OrderedClient()
        self.verdicts: queue.Queue[dict[str, Any]] = queue.Queue()
        self.lobbies: queue.Queue[dict[str, Any]] = queue.Queue()
        self.replaced: queue.Queue[dict[str, Any]] = queue.Queue()
        for event, inbox in (
            ("verdict", self.verdicts),
            ("lobby", self.lobbies),
            ("replaced", self.replaced),
        ):
            self._client.on(event, inbox.put)
        self._client.connect(url, transports=["websocket"])

    def ask(self, event: str, data: Any = None) -> dict[str, Any]:
        reply: dict[str, Any] = self._client.call(event, data, timeout=PATIENCE_SECONDS)
        return reply

    def join(self, code: str, name: str, **more: Any) -> dict[str, Any]:
        reply = self.ask("join", {"code": code, "name": name, **more})
        assert reply["ok"], reply
        return reply

    def close(self) -> None:
        self._client.close()


Connect = Callable[[], Client]


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(DUELS, "app:app", env={"DUEL_ROUND_SECONDS": "600"}).url)


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    clients: list[Client] = []

    def one() -> Client:
        clients.append(Client(url))
        return clients[-1]

    yield one
    for client in clients:
        client.close()


PAYLOADS = {
    "nothing": None,
    "number": 0,
    "text": "text",
    "list": [1, 2],
    "bool": True,
    "empty": {},
    "code": {"code": 1},
    "round": {"round": "1", "answer": None},
    "two-values": ("two", "values"),
    "bytes": b"\x00",
    "deep": DEEP,
}


@pytest.mark.parametrize("event", ["join", "answer"])
@pytest.mark.parametrize("data", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_any_payload_gets_an_answer(connect: Connect, event: str, data: Any) -> None:
    reply = connect().ask(event, data)
    assert reply["ok"] is False
    assert reply["code"] in {"malformed", "name", "code", "not_seated"}
    assert reply["error"].endswith(".")


def test_events_without_a_seat_are_refused(connect: Connect) -> None:
    client = connect()
    for event in ("start", "answer"):
        assert client.ask(event, {})["code"] == "not_seated"
    assert client.ask("leave") == {"ok": True}


def test_a_verdict_reaches_everyone_and_a_second_answer_nobody(connect: Connect) -> None:
    ada, ben, stranger = connect(), connect(), connect()
    ada.join("WXYZ", "Ada")
    ben.join("WXYZ", "Ben")
    stranger.join("QRST", "Ada")
    assert ben.ask("start") == {"ok": True}
    assert ada.ask("answer", {"round": 1, "answer": "-1"}) == {
        "ok": True,
        "right": False,
        "points": 0,
        "score": 0,
    }
    wanted = {"id": 1, "name": "Ada", "round": 1, "right": False, "points": 0, "score": 0}
    assert ada.verdicts.get(timeout=PATIENCE_SECONDS) == ben.verdicts.get(timeout=PATIENCE_SECONDS) == wanted
    assert ada.ask("answer", {"round": 1, "answer": 5})["code"] == "duplicate"
    assert ben.ask("answer", {"round": 9, "answer": 5})["code"] == "late"
    assert stranger.ask("answer", {"round": 1, "answer": 5})["code"] == "late"  # no duel runs in that lobby
    assert ben.verdicts.empty()
    assert stranger.verdicts.empty()


def test_a_practice_room_has_one_seat(connect: Connect) -> None:
    owner, other = connect(), connect()
    owner.join("SOLO-ABCDEFGH", "Ada")
    assert other.ask("join", {"code": "SOLO-ABCDEFGH", "name": "Ben"})["code"] == "full"
    assert owner.ask("start") == {"ok": True}


def test_the_token_moves_the_seat_to_the_new_connection(connect: Connect) -> None:
    first, second = connect(), connect()
    token = first.join("ABCD", "Ada")["token"]
    reply = second.join("ABCD", "Ada", token=token)
    assert (reply["you"], len(reply["lobby"]["players"])) == (1, 1)
    assert first.replaced.get(timeout=PATIENCE_SECONDS) == {"code": "ABCD"}
    assert first.ask("start")["code"] == "not_seated"
    assert token not in repr(first.lobbies.queue)


def test_a_dropped_player_is_shown_as_gone(connect: Connect) -> None:
    stays, goes = connect(), connect()
    stays.join("GHJK", "Ada")
    goes.join("GHJK", "Ben")
    goes.close()
    while True:
        presences = {p["name"]: p["presence"] for p in stays.lobbies.get(timeout=PATIENCE_SECONDS)["players"]}
        if presences.get("Ben") == "dropped":
            break
    assert presences == {"Ada": "here", "Ben": "dropped"}
