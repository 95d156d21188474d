"""What the page of operations has an operator type, at a real server; a real Prometheus reads the dashboard.

It must not know what the figures are.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from asked_workers import PATIENCE_SECONDS, address
from dashboard import METRIC, expressions
from outside_tools import outside_tool
from own_ports import port_of_its_own
from page_blocks import PAGES
from prometheus_server import Prometheus, get
from python_server.monitoring.catalogue import CATALOGUE

APPS = Path(__file__).parent / "apps"
QUESTIONS = PAGES["docs/operations.md"].partition("## Ten questions")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"`(curl [^`]+)`", QUESTIONS)
# What Grafana puts in.
VARIABLES = {'job=~"$job"': 'job=~".*"', "$__rate_interval": "1m"}


@pytest.fixture(scope="module")
def port() -> int:
    return port_of_its_own()


@pytest.fixture
def watched(launch: Any, port: int) -> Iterator[int]:
    """The port of the metrics of a server that has had a client, which has gone."""
    server = launch(
        APPS, "metrics_app:app", "--workers", "2", "--no-access-log", "--metrics", f"127.0.0.1:{port}"
    )
    server.wait_serving(2)
    host, main = address(server)
    place = f"ws://{host}:{main}/socket.io/?EIO=4&transport=websocket"
    with connect(place, open_timeout=PATIENCE_SECONDS) as client:
        client.recv(PATIENCE_SECONDS)
        for said in ("40", '421["count"]'):
            client.send(said)
            client.recv(PATIENCE_SECONDS)
        until_written(port)
        yield port
    assert server.stop() == 0


def until_written(port: int) -> None:
    """A worker writes its figures down each second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while 'wsframe_events_received_total{namespace="/"} 1.0' not in get(port, "/metrics")[1]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_question_has_its_command() -> None:
    questions = re.split(r"^### (\d+)\. ", QUESTIONS, flags=re.MULTILINE)[1:]
    assert questions[::2] == [str(number) for number in range(1, 11)]
    for text in questions[1::2]:
        assert re.match(r"[^\n]+\?\n\n`(curl|wsframe) [^`]+`", text)


def test_what_is_searched_for_in_the_journal_is_in_the_log() -> None:
    lines = PAGES["docs/reference/log-lines.md"] + PAGES["docs/how-to/event-does-not-arrive.md"]
    patterns = re.findall(r"`journalctl -u shop -g '([^']+)'`", QUESTIONS)
    assert len(patterns) > 3
    for pattern in patterns:
        for alternative in pattern.split("|"):
            assert re.search(alternative, lines), alternative


def test_the_commands_answer(watched: int) -> None:
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        typed = command.replace("127.0.0.1:9464", f"127.0.0.1:{watched}")
        done = subprocess.run(
            [outside_tool("bash"), "-c", typed], capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        wanted = re.findall(r"[a-z_]{5,}", command.partition("grep")[2].replace("wsframe_", ""))
        assert not [word for word in wanted if not any(word in name for name in CATALOGUE)], command
        assert done.stdout


def test_the_commands_for_a_running_server_work_in_turn(launch: Any) -> None:
    named = set(re.findall(r"`wsframe (\w+)`", QUESTIONS))
    assert named == {"status", "top", "dump", "reload", "stop"}  # `top` needs a terminal
    server = launch(APPS, "metrics_app:app", "--workers", "2", "--no-access-log")
    server.wait_serving(2)
    for word in ("status", "dump", "reload", "stop"):
        command = [str(Path(sys.executable).with_name("wsframe")), word, "--port", str(address(server)[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        while word == "dump" and done.returncode == 1:  # a worker is more than three seconds late
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert (done.returncode, done.stderr) == (0, ""), word
        assert str(server.pid) in done.stdout or word == "dump"
        if word == "reload":
            server.wait_for("rolling restart done")
    server.wait_for("has ended", 4)
    assert server.wait() == 0
    assert server.log.count("has ended") == 4


def result_of(prometheus: Prometheus, text: str) -> Any:
    answer = prometheus.ask(text)
    assert answer["status"] == "success", (text, answer)
    return answer["data"]["result"]


@pytest.mark.long
def test_a_prometheus_reads_every_query_of_the_dashboard(watched: int, tmp_path: Path) -> None:
    outside_tool("prometheus")
    with closing(Prometheus(tmp_path, watched)) as prometheus:
        deadline = time.monotonic() + PATIENCE_SECONDS
        # A rate needs two scrapes.
        while prometheus.query("count_over_time(wsframe_connections[1m]) > 1") == {}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        there = set(METRIC.findall(re.sub(r"^#.*\n", "", get(watched, "/metrics")[1], flags=re.MULTILINE)))
        for text in expressions():
            for variable, value in VARIABLES.items():
                text = text.replace(variable, value)
            # Nobody was slow, and only that reason is asked for.
            is_there = set(METRIC.findall(text)) <= there and "slow client" not in text
            while not result_of(prometheus, text) and is_there:  # a scrape that takes a second fails
                assert time.monotonic() < deadline, text
                time.sleep(0.2)
