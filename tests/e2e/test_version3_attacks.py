"""Hostile bodies of Engine.IO 3 against the real server process: each is refused or taken, and nobody waits.

It must not know how a payload is read.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
MEGABYTE = 1_000_000
OCTETS = "application/octet-stream"
TEXT = "text/plain;charset=UTF-8"
PLACE = '{"_placeholder":true,"num":0}'


def framed(*packets: str) -> str:
    return "".join(f"{len(packet)}:{packet}" for packet in packets)


class Client:
    """One polling session."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/socket.io/?EIO=3&transport=polling"
        self._web = requests.Session()
        opened = self._web.get(self._url, timeout=PATIENCE_SECONDS).text
        self._url += "&sid=" + json.loads(opened.partition(":")[2][1:])["sid"]
        self.poll_until('42["welcome"')

    def poll_until(self, text: str) -> str:
        heard = ""
        while text not in heard:
            heard += self.poll()
            assert "Session ID unknown" not in heard
        return heard

    def poll(self) -> str:
        return self._web.get(self._url, timeout=PATIENCE_SECONDS).text

    def post(self, body: str | bytes, content_type: str = TEXT) -> int:
        body = body.encode() if isinstance(body, str) else body
        fields = {"Content-Type": content_type}
        return self._web.post(self._url, body, headers=fields, timeout=PATIENCE_SECONDS).status_code

    def close(self) -> None:
        self.post("1:1")
        self._web.close()


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "version2_app:app", env={"PING_TIMEOUT": "300"}).url)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    client = Client(url)
    yield client
    client.close()


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no length": ("4a", TEXT),
    "a megabyte of digits": ("9" * MEGABYTE, TEXT),
    "more digits than any length has": ("9" * 11 + ":4a", TEXT),
    "a length beyond the body": ("9999999999:4a", TEXT),
    "a length within a character": ("2:4\N{GRINNING FACE}", TEXT),
    "a lone surrogate in UTF-8": (b"2:4\xed\xa0\xbd", TEXT),
    "base64 in base64": (framed("bb4AA=="), TEXT),
    "a binary ping": (framed("b2AA=="), TEXT),
    "octets: a megabyte of digits": (b"\0" + b"\x09" * (MEGABYTE - 1), OCTETS),
    "octets: no end of the length": (b"\0" * MEGABYTE, OCTETS),
    "octets: a digit above nine": (b"\0\x0a\xff4a", OCTETS),
    "octets: a length beyond the body": (b"\1\x09\x09\x09\xff\4", OCTETS),
    "octets: half a character": (b"\0\3\xff4\xe2\x9c", OCTETS),
    "octets in a text body": (b"\0\2\xff4a", TEXT),
    "text in a body of octets": ("2:4a", OCTETS),
}
ENDS: dict[str, str] = {
    "an attachment without its packet": framed("b4AA=="),
    "text where an attachment is due": framed(f'451-["echo",{PLACE}]', '42["echo"]'),
    "attachments without end": framed("4" + "5" + "9" * 1000 + "-[]"),
    "a placeholder twice": framed(f'451-["echo",{PLACE},{PLACE}]', "b4AA=="),
    "a placeholder for nothing": framed('451-["echo",{"_placeholder":true,"num":9}]', "b4AA=="),
    "arrays without end": framed("42" + "[" * 100_000),
    "a second CONNECT": framed("40"),
    "a query of many fields": framed("40/admin?" + "a&" * 1000),
}
TAKEN = {
    "pings": "1:2" * (MEGABYTE // 3),
    "pings with data": "2:2x3:2yz" * (MEGABYTE // 9),
    "noops": "1:6" * (MEGABYTE // 3),
    "nothing": "0:" * (MEGABYTE // 2),
}


def is_answered(client: Client, text: str) -> bool:
    event = f'["echoed","{text}"]'
    return client.post(framed(f'42["echo","{text}"]')) == 200 and event in client.poll_until(event)


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_body_is_refused_and_ends_its_session(client: Client, url: str, what: str) -> None:
    bystander = Client(url)
    assert client.post(*REFUSED[what]) == 400
    assert "Session ID unknown" in client.poll()
    assert is_answered(bystander, what)
    bystander.close()


@pytest.mark.parametrize("what", ENDS)
def test_what_is_no_socketio_ends_its_session(client: Client, url: str, what: str) -> None:
    bystander = Client(url)
    client.post(ENDS[what])
    assert "Session ID unknown" in client.poll()
    assert is_answered(bystander, what)
    bystander.close()


@pytest.mark.parametrize("what", TAKEN)
def test_a_flood_of_tiny_packets_is_answered_once(client: Client, what: str) -> None:
    """One pong at most waits for the poll that follows."""
    assert client.post(TAKEN[what]) == 200
    if what.startswith("ping"):
        assert client.poll() in ("1:3", "2:3x")
    assert is_answered(client, what)


def test_a_body_above_the_bound_is_413(client: Client) -> None:
    assert client.post("0:" * MEGABYTE) == 413
