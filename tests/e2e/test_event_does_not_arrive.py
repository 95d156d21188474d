"""The debug log, the page about it, and logs as an operator wants them, read from real servers.

It must not hold code that the page lacks.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from ordered_clients import SimpleClient

APPS = Path(__file__).resolve().parent / "apps"
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "event-does-not-arrive.md").read_text(
    "utf-8"
)
WAIT_SECONDS = 60


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def debug_lines(log: str) -> list[str]:
    """What the debug log says, with names, addresses and times as the page has them."""
    lines = [line.partition(" DEBUG ")[2] for line in log.splitlines() if " DEBUG " in line]
    return [plain(line) for line in lines]


def plain(line: str) -> str:
    line = re.sub(r"session [\w-]{6}\.\.", "session S", line)
    line = re.sub(r"' [\w-]{6}\.\.", "' X", line)
    return re.sub(r"in \d+\.\d ms", "in T ms", line)


def make_mistakes(url: str) -> None:
    with SimpleClient() as client:
        client.connect(url)
        with pytest.raises(socketio.exceptions.TimeoutError):
            client.call("devide", (6, 3), timeout=0.5)
        client.emit("enter", "den")
        assert client.call("divide", (6, 3)) == 2
    with SimpleClient() as other, pytest.raises(socketio.exceptions.ConnectionError):
        other.connect(url, namespace="/chat")


def test_the_page(serve: Any, tmp_path: Path) -> None:
    program, own = blocks("python")
    (tmp_path / "shop.py").write_text(program)
    (words,) = re.findall(r"^    wsframe serve (--log-level .*)$", PAGE, re.MULTILINE)
    server = serve(tmp_path, *words.split())
    make_mistakes(server.url)
    server.wait_for("served are '/'")
    said = debug_lines(server.log)
    first, second = ([plain(line) for line in block.splitlines()] for block in blocks("text"))
    assert set(first) <= set(said), set(first) - set(said)
    assert set(second) <= set(said)
    of_the_loop = [line for line in first if " emit " not in line and "handled" not in line]
    in_order = [line for line in said if line in of_the_loop]
    assert in_order[: len(of_the_loop)] == of_the_loop
    scope: dict[str, Any] = {"__name__": "shop"}
    exec(program + own, scope)
    assert scope["loud"]._mounted.loggers == (scope["own"], True)


def test_a_configuration_of_ones_own_for_each_worker(serve: Any, tmp_path: Path) -> None:
    program, _ = blocks("python")
    (configuration,) = blocks("toml")
    (tmp_path / "shop.py").write_text(program)
    (tmp_path / "log.toml").write_text(configuration)
    (words,) = re.findall(r"^    wsframe serve (--log-config .*)$", PAGE, re.MULTILINE)
    server = serve(tmp_path, *words.split(), "--workers", "2")
    make_mistakes(server.url)
    file = tmp_path / "events.log"
    server.wait_for("GET /socket.io/", 3)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["logger"] for line in lines} == {"python_server.socketio"}
    (line,) = (line for line in lines if "has no handler" in line["message"])
    assert (line["event"], line["namespace"], line["level"]) == ("devide", "/", "DEBUG")
    assert line["message"].endswith("event 'devide' has no handler: did you mean 'divide'?")


OWN = """
[formatters.own]
format = "OWN %(process)d %(name)s %(levelname)s %(message)s"
[handlers.out]
class = "logging.StreamHandler"
formatter = "own"
[root]
level = "INFO"
handlers = ["out"]
"""


def test_supervisor_and_workers_alike_follow_the_configuration(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "log.toml").write_text(OWN)
    server = serve(APPS, "plain_app:app", "--workers", "2", "--log-config", str(tmp_path / "log.toml"))
    server.wait_serving(2)
    requests.get(f"{server.url}/?token=hunter2", timeout=WAIT_SECONDS)
    server.wait_for("GET /")
    lines = server.log.splitlines()
    assert all(line.startswith("OWN ") for line in lines), server.log
    assert len({line.split()[1] for line in lines}) >= 2  # the supervisor, and at least who answered
    assert "hunter2" not in server.log


def test_both_logs_in_json(serve: Any, tmp_path: Path) -> None:
    words = ["--workers", "2", "--log-format", "json", "--access-log-format", "json"]
    server = serve(APPS, "plain_app:app", *words, "--log-level", "debug")
    server.wait_serving(2)
    for query in ("sid=hunter2", "a=%22%0a%ff", 'q="\\'):
        requests.get(f"{server.url}/%22%00%ff?{query}", headers={"User-Agent": '"\\\t'}, timeout=WAIT_SECONDS)
    server.wait_for('"method": "GET"', 3)
    lines = [json.loads(line) for line in server.log.splitlines()]
    answered = [line for line in lines if "status" in line]
    assert {line["path"] for line in answered} == {'/"\x00\xff'}
    assert {line["user_agent"] for line in answered} == {'"\\'}
    assert "sid=***" in {line["query"] for line in answered}
    said = [line for line in lines if "status" not in line]
    assert {"time", "level", "logger", "process", "message"} <= said[0].keys()
    assert "hunter2" not in server.log


PROGRAM = """
from flask import Flask
from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, logger=True)

@socketio.on("divide")
def divide(first, second):
    return first / second
"""


def test_a_program_asks_for_the_lines_about_its_events(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    server = serve(tmp_path, "shop:app")
    with SimpleClient() as client:
        client.connect(server.url)
        client.emit("devide", (6, 3))
        assert client.call("divide", (6, 3)) == 2
    server.wait_for("has no handler: did you mean 'divide'?")
    assert "session" not in " ".join(line for line in server.log.splitlines() if " opened " in line)
    assert "[6, 3]" not in server.log
