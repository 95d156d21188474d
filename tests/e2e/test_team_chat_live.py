"""The team chat under the fixture `socketio_live`: an end by the clock, presence, checked events, a stream.

It must not know the application's code.
"""

import json
import runpy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ordered_clients import PATIENCE_SECONDS, SimpleClient

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "team_chat" / "app.py"


@pytest.fixture
def team_chat() -> Any:
    return runpy.run_path(str(EXAMPLE))["app"]


def token_of(url: str, name: str) -> str:
    told: str = requests.post(url + "/token", data={"name": name}, timeout=PATIENCE_SECONDS).json()["token"]
    return told


def come_in(url: str, token: str) -> SimpleClient:
    client = SimpleClient()
    client.connect(url, auth={"token": token}, transports=["websocket"])
    return client


def event(client: SimpleClient, name: str) -> Any:
    while True:
        told, *arguments = client.receive(timeout=PATIENCE_SECONDS)
        if told == name:
            return arguments[0]


def fields(lines: Iterator[str]) -> dict[str, str]:
    """The next event of a stream."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:  # no comment
            found[name] = value
        elif "data" in found:
            return found
    raise AssertionError("the stream has ended")


def test_all_of_it(socketio_live: Any, team_chat: Any) -> None:
    url = str(socketio_live(team_chat))
    token = token_of(url, "Ada")
    ada = come_in(url, token)
    assert ada.call("enter", {"room": "Cellar"}, timeout=PATIENCE_SECONDS)["path"] == "$[0].room"
    assert ada.call("enter", {"room": "Kitchen"}, timeout=PATIENCE_SECONDS) == []
    assert event(ada, "people") == {"room": "Kitchen", "names": ["Ada"]}
    address = url + "/listen/Kitchen"
    assert requests.get(address, timeout=PATIENCE_SECONDS).status_code == 403
    wall = requests.get(address, params={"token": token}, stream=True, timeout=PATIENCE_SECONDS)
    assert wall.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert ada.call("say", {"room": "Kitchen", "text": "tea"}, timeout=PATIENCE_SECONDS) == {"number": 1}
    heard = fields(wall.iter_lines(decode_unicode=True))
    assert (heard["event"], json.loads(heard["data"])[0]["text"]) == ("said", "tea")
    wall.close()
    assert ada.call("say", {"room": "Kitchen", "text": "cake"}, timeout=PATIENCE_SECONDS) == {"number": 2}
    again = requests.get(
        address,
        params={"token": token},
        headers={"Last-Event-ID": heard["id"]},
        stream=True,
        timeout=PATIENCE_SECONDS,
    )
    assert json.loads(fields(again.iter_lines(decode_unicode=True))["data"])[0]["text"] == "cake"
    again.close()
    team_chat.extensions["socketio"].expire(ada.sid, time.time() + 0.2)
    assert event(ada, "closing")["reason"] == "auth expired"
    ada.disconnect()
