"""Conversations with python-socketio's client: reads jobs from its input, prints a transcript of each.

It must not know any program: what is said stands in its .talk file (tests/e2e/programs/README.md).
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import socketio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ordered_clients import OrderedClient, OrderedEngine, PromptEngine

PATIENCE_SECONDS = 60.0
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


class TalkingEngine(OrderedEngine, PromptEngine):
    """Several of a conversation leave one after the other."""


class TalkingClient(OrderedClient):
    def _engineio_client_class(self) -> type[TalkingEngine]:
        return TalkingEngine


def plain(value: object) -> object:
    """Bytes as they are written in .talk files, whole numbers without a fraction."""
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def written(*values: object) -> str:
    return ", ".join(json.dumps(plain(value), sort_keys=True, ensure_ascii=False) for value in values)


def bytes_of(found: dict[str, Any]) -> object:
    return bytes.fromhex(found["bytes"]) if isinstance(found.get("bytes"), str) else found


def read(text: str) -> list[Any]:
    return list(json.loads(f"[{text}]", object_hook=bytes_of))


class Client:
    """What it has heard stands in `lines`."""

    def __init__(self, talk: "Talk") -> None:
        self.talk = talk
        self.lines: list[str] = []
        self.id = ""
        self.sio: Any = None
        self.websocket: Any = None
        self.namespace = "/"
        self.replies: dict[str, list[Any]] = {}
        self._counts: Counter[str] = Counter()
        self._texts: defaultdict[str, str] = defaultdict(str)
        self._has_ended = self._has_left = False
        self._told = threading.Condition()

    def say(self, line: str) -> None:
        with self._told:
            self.lines.append(line)
            self._told.notify_all()

    def _until(self, what: str, condition: Callable[[], object]) -> None:
        with self._told:
            if not self._told.wait_for(condition, PATIENCE_SECONDS):
                raise TimeoutError(f"waited in vain for {what}")

    def _heard(self, event: str, *values: Any) -> Any:
        with self._told:
            if self._has_left:  # whether something still reaches one who leaves is a matter of luck
                return None
            if event in self.talk.quiet:
                self._texts[event] += written(*values)
            else:
                self.lines.append(f"< {event} {written(*values)}".strip())
                self._counts[event] += 1
            self._told.notify_all()
        reply = self.replies.get(event)
        return None if reply is None else tuple(reply)

    def _refused(self, reason: Any = None) -> None:
        if not self.sio.eio.sid:
            self.say("refused by the transport")
        elif isinstance(reason, dict):
            self.say(f"refused {written(*(reason[key] for key in ('message', 'data') if key in reason))}")
        else:
            self.say('refused ""')  # the official client reads no refusal that is a string

    def _gone(self, *reason: object) -> None:
        with self._told:
            self._has_ended = True
            self._told.notify_all()

    def open(self, text: str) -> None:
        options = read(text or "{}")[0]
        self.namespace = options.get("namespace", "/")
        headers = {"Origin": options["origin"]} if "origin" in options else {}
        if "cookies" in options:
            headers["Cookie"] = self.talk.cookies()
        self.sio, self._has_ended = TalkingClient(websocket_extra_options={"suppress_origin": True}), False
        self._has_left = False
        handlers = {"*": self._heard, "disconnect": self._gone, "connect_error": self._refused}
        for event, handler in handlers.items():
            self.sio.on(event, handler, namespace=self.namespace)
        beginning = len(self.lines)  # events of the connect handler may come before the answer to the client
        try:
            self.sio.connect(
                f"{self.talk.url}?{urlencode(options.get('query', {}))}",
                socketio_path=options.get("path", "socket.io"),
                namespaces=[self.namespace],
                headers=headers,
                auth=options.get("auth"),
                transports=TRANSPORTS[options.get("transport", "upgrade")],
            )
        except socketio.exceptions.ConnectionError:
            self._until("its refusal", lambda: any(line.startswith("refused") for line in self.lines))
        else:
            self.id = self.sio.get_sid(self.namespace) or self.id
            with self._told:
                self.lines.insert(beginning, "connected")

    def emit(self, text: str) -> None:
        event, _, values = text.partition(" ")
        self.sio.emit(event, tuple(read(values)), namespace=self.namespace)

    def call(self, text: str) -> None:
        event, _, values = text.partition(" ")
        answers: list[object] = []

        def answered(*all_of: object) -> None:
            self.say(f"{event} -> {written(*all_of)}".strip())
            with self._told:
                answers.append(all_of)
                self._told.notify_all()

        self.sio.emit(event, tuple(read(values)), namespace=self.namespace, callback=answered)
        self._until(f"the answer to {event}", lambda: answers)

    def hears(self, event: str) -> None:
        self._until(event, lambda: self._counts[event])
        self._counts[event] -= 1

    def finds(self, text: str) -> None:
        event, _, needle = text.partition(" ")
        self._until(text, lambda: read(needle)[0] in self._texts[event])
        self.say(f"found {text}")

    def answers(self, text: str) -> None:
        event, _, values = text.partition(" ")
        self.replies[event] = read(values)

    def ends(self, _: str) -> None:
        if self.websocket is not None:
            with contextlib.suppress(ConnectionClosed):
                raise AssertionError(f"instead of its end: {self.websocket.recv(PATIENCE_SECONDS)!r}")
        else:
            self._until("its end", lambda: self._has_ended)
        self.say("disconnected")

    def leaves(self, _: str = "") -> None:
        self._has_left = True
        if self.sio is not None:
            self.sio.close()
        if self.websocket is not None:
            self.websocket.close()

    def ws(self, path: str) -> None:
        try:
            url = self.talk.url.replace("http", "ws") + path
            self.websocket = connect(url, open_timeout=PATIENCE_SECONDS).__enter__()
        except InvalidStatus as refused:
            self.say(f"refused with {refused.response.status_code}")

    def says(self, text: str) -> None:
        self.websocket.send(read(text)[0])

    def reads(self, _: str) -> None:
        self.say(f"read {written(self.websocket.recv(PATIENCE_SECONDS))}")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Talk:
    def __init__(self, job: dict[str, Any]) -> None:
        self.url: str = job["url"]
        self.path = Path(job["talk"])
        self.command: list[str] = job["command"]
        self.folder: str = job["folder"]
        self.environment: dict[str, str] = job["environment"]
        self.quiet: set[str] = set()
        self.masks: list[str] = []
        self.clients: defaultdict[str, Client] = defaultdict(lambda: Client(self))
        self.jar: dict[str, str] = {}
        self.pages = urllib.request.build_opener(NoRedirects)

    def cookies(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    def page(self, text: str) -> None:
        method, path, body, *_ = [*text.split(" ", 2), ""]
        headers = {"Cookie": self.cookies()} | ({"Content-Type": "application/json"} if body else {})
        request = urllib.request.Request(self.url + path, body.encode() or None, headers, method=method)
        try:
            answer = self.pages.open(request, timeout=PATIENCE_SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.jar[name] = value
            line = f"{text} -> {answer.status} {answer.read().decode().strip()}"
        self.clients["page"].say(line.strip())

    def run(self, text: str) -> None:
        done = subprocess.run(
            [*self.command, *text.split(" ")],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        failure = f" failed: {done.stderr}" if done.returncode else ""
        self.clients["run"].say(f"{text} -> {done.stdout.strip()}{failure}")

    def hold(self) -> str:
        for line in self.path.read_text("utf-8").splitlines():
            name, _, rest = line.strip().partition(" ")
            if name in ("", "#"):
                continue
            if name == "quiet":
                self.quiet.add(rest)
            elif name == "mask":
                self.masks.append(rest)
            elif name in ("page", "run"):
                getattr(self, name)(rest)
            else:
                verb, _, values = rest.partition(" ")
                try:
                    getattr(self.clients[name], verb)(values)
                except Exception as error:
                    self.clients[name].say(f"{line}: {error!r}")
                    break
        transcript = self._transcript()  # before anyone hears that the others leave
        for client in self.clients.values():
            with contextlib.suppress(Exception):  # one that has left already
                client.leaves()
        return transcript

    def _transcript(self) -> str:
        parts = ["\n  ".join([name, *client.lines]) for name, client in self.clients.items()]
        text = "\n".join(parts)
        for name, client in self.clients.items():
            if client.id:
                text = text.replace(client.id, f"<{name}>")
        text = re.sub(r"(?<![\w-])[\w-]{20}(?![\w-])", "<id>", text.replace(self.url, "<url>"))
        for mask in self.masks:
            text = re.sub(mask, "<masked>", text)
        return text + "\n"


def main() -> None:
    jobs = json.load(sys.stdin)
    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        transcripts = dict(pool.map(lambda job: (job["name"], Talk(job).hold()), jobs))
    json.dump(transcripts, sys.stdout)


if __name__ == "__main__":
    main()
