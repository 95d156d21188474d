"""Good clients by python-socketio: numbered events with acks, and what each hears of everybody.

It must not know what is done to the server. Usage: good.py CONFIG; a closed standard input ends it.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import engineio  # type: ignore[import-untyped]
import requests
import socketio  # type: ignore[import-untyped]
from socketio.exceptions import SocketIOError  # type: ignore[import-untyped]


class InlineEngine(engineio.Client):  # type: ignore[misc]
    """Messages in the order in which they come: the library starts a thread for each and lets them race."""

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if target == self.handlers.get("message"):
            return target(*args, **kwargs)
        return super().start_background_task(target, *args, **kwargs)


class Client(socketio.Client):  # type: ignore[misc]
    def __init__(self, config: dict[str, Any], given: dict[str, Any]) -> None:
        session = requests.Session()
        session.trust_env = False  # its certificates would go before ours
        session.verify = given["machine"]["ca"] or True
        super().__init__(
            reconnection_delay=0.1,
            reconnection_delay_max=0.5,
            randomization_factor=0.1,
            http_session=session,
            handle_sigint=False,
        )
        self._given, self._config = given, config
        self._pending: dict[int, float] = {}  # number: when it was said, of the monotonic clock
        self._gone_at = 0.0
        self._last: dict[tuple[int, str], int] = {}  # by reading thread and speaker
        self.report: dict[str, Any] = {"name": given["name"], "machine": given["machine"]["name"], "said": 0}
        self.report |= {"client": "python-socketio", "transports": given["transports"], "heard": {}}
        self.report |= {word: [] for word in ("acks", "late", "comes", "goes", "unanswered")}
        self.on("connect", lambda: self.report["comes"].append([time.time(), False]))
        self.on("disconnect", self._gone)
        self.on("told", self._hear)

    def _engineio_client_class(self) -> type[engineio.Client]:
        return InlineEngine

    def _gone(self, reason: str) -> None:
        """What a lost connection left open may have been told or not."""
        self._gone_at = time.perf_counter()
        self._pending.clear()
        self.report["goes"].append([time.time(), reason])

    def _hear(self, who: str, number: int, *_: str) -> None:
        """Numbers that follow each other are one stretch. Behind them stands the offset for a recovery.

        Order is that of a session: the thread that reads an old one may come behind that of the next.
        """
        stretches = self.report["heard"].setdefault(who, [])
        last = self._last.get((threading.get_ident(), who), 0)
        self._last[threading.get_ident(), who] = max(number, last)
        if number <= last:
            self.report["late"].append([who, number, last])
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])

    def _answered(self, number: int, *_: Any) -> None:
        said_at = self._pending.pop(number, None)
        if said_at is not None:
            self.report["acks"].append([number, time.time(), (time.perf_counter() - said_at) * 1e3])

    def _say(self) -> None:
        self.report["said"] += 1
        number = self.report["said"]
        self._pending[number] = time.perf_counter()
        try:
            self.emit("tell", (self.report["name"], number), callback=partial(self._answered, number))
        except SocketIOError:  # it has left this moment
            self._pending.pop(number, None)

    def _give_up(self) -> None:
        before = time.perf_counter() - self._config["patience_seconds"]
        for number, said_at in [*self._pending.items()]:
            if said_at < before and self._pending.pop(number, None) is not None and self._gone_at < said_at:
                self.report["unanswered"].append([number, time.time(), "no ack came"])

    def talk(self, ended: threading.Event) -> None:
        self.connect(self._given["url"], transports=self._given["transports"], retry=True, wait_timeout=30)
        while not ended.wait(self._config["pause_seconds"] * (0.5 + random.random())):
            if "/" in self.namespaces:
                self._say()
            self._give_up()


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    ended = threading.Event()
    clients = [Client(config, given) for given in config["clients"]]
    threads = [threading.Thread(target=client.talk, args=(ended,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    while not all(client.report["comes"] for client in clients):
        time.sleep(0.02)
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join(10)
    time.sleep(config["last_words_seconds"])
    for client in clients:
        client.report["here"] = bool(client.connected)
    Path(config["report"]).write_text(json.dumps([client.report for client in clients]))
    for client in clients:
        client.disconnect()


if __name__ == "__main__":
    main()
