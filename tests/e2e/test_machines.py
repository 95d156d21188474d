"""Machines joined by a real Redis: ours with each other, with python-socketio's, with writers outside.

It must not know how a message is written. Every wait is for something that was said, never for a time.
"""

import json
import os
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import flask_socketio
import pytest
import redis

from joined_machines import WAIT_SECONDS, Client, Machines, repeat
from python_server import Emitter
from python_server.control.places import default_path
from python_server.socketio.cluster.broker.post_queue import QUEUE_MAX_BYTES, QUEUE_MAX_COUNT


@pytest.fixture
def machines(serve: Any, redis_server: Any) -> Iterator[Machines]:
    machines = Machines(serve, redis_server.url)
    yield machines
    machines.close()


# A stock server runs a client's events side by side, so each is waited for.


def hears_in_order(client: Client, *expected: Any) -> None:
    """`expected` and nothing else, the last of it being said to everybody."""
    assert [client.hear() for _ in expected] == list(expected)


def test_writers_outside_reach_our_clients(machines: Machines) -> None:
    """G1: python-socketio's RedisManager, Flask-SocketIO without an application, and our Emitter."""
    ours = machines.ours()
    red, blue = machines.client(ours.url), machines.client(ours.url)
    red.ask("join", "red")
    blue.ask("join", "blue")
    manager = machines.outside()
    manager.emit("said", "all")
    manager.emit("said", ("two", {"arguments": [1, None]}), room="red")
    manager.emit("said", {"bytes": b"\0\xff", "more": [b"x"]}, room=["red", "blue"])
    manager.emit("said", "not blue", skip_sid=[blue.sid])
    manager.emit("said", "one", room=blue.sid)
    with Emitter(machines.url, machines.channel) as emitter:
        emitter.emit("said", "ours", b"\1", to=["red"])
        emitter.emit("said", "end")
    hears_in_order(
        red,
        ["all"],
        ["two", {"arguments": [1, None]}],
        [{"bytes": b"\0\xff", "more": [b"x"]}],
        ["not blue"],
        ["ours", b"\1"],
        ["end"],
    )
    hears_in_order(blue, ["all"], [{"bytes": b"\0\xff", "more": [b"x"]}], ["one"], ["end"])
    flask_outside = flask_socketio.SocketIO(message_queue=machines.url, channel=machines.channel)
    machines.managers.append(flask_outside.server.manager)
    flask_outside.emit("said", "flask", to="blue")
    flask_outside.emit("said", "flask end")
    hears_in_order(blue, ["flask"], ["flask end"])
    hears_in_order(red, ["flask end"])
    manager.enter_room(red.sid, "/", "blue")
    manager.emit("said", "both", room="blue")
    manager.leave_room(red.sid, "/", "blue")
    manager.emit("said", "blue only", room="blue")
    manager.close_room("blue")
    manager.emit("said", "nobody", room="blue")
    manager.emit("said", "end")
    hears_in_order(red, ["both"], ["end"])
    hears_in_order(blue, ["both"], ["blue only"], ["end"])
    with Emitter(machines.url, machines.channel) as emitter:
        emitter.disconnect(blue.sid)
    assert blue.gone.wait(WAIT_SECONDS)
    assert not red.gone.is_set()


def test_our_servers_and_stock_ones_are_one(machines: Machines) -> None:
    """G1: rooms, skip_sid, binary, disconnect and acks, both ways."""
    ours, theirs = machines.ours(), machines.theirs()
    here, there = machines.client(ours.url), machines.client(theirs)
    here.ask("join", "red")
    there.ask("join", "red")
    for client, other in ((here, there), (there, here)):
        client.ask("say", {"n": [1, b"\0"]}, {"to": "red"})
        client.ask("say", "but you", {"to": "red", "skip_sid": other.sid})
        client.ask("say", "just you", {"to": other.sid})
        client.ask("say", "whoever is here", {"to": "red", "ignore_queue": True})
        client.ask("say", "end", {})
        hears_in_order(client, [{"n": [1, b"\0"]}], ["but you"], ["whoever is here"], ["end"])
        hears_in_order(other, [{"n": [1, b"\0"]}], ["just you"], ["end"])
    there.sio.emit("ask", here.sid)
    assert there.hear() == ["answered", [f"8 from {here.sid}", 8]]
    here.sio.emit("ask", there.sid)
    assert here.hear() == ["answered", [f"8 from {there.sid}", 8]]
    assert list(here.ask("call", there.sid)) == [f"7 from {there.sid}", 7]
    third = machines.client(ours.url)
    there.sio.emit("send away", third.sid)
    assert third.gone.wait(WAIT_SECONDS)
    here.sio.emit("send away", there.sid)
    assert there.gone.wait(WAIT_SECONDS)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="one channel"),
        pytest.param({"channel_per_room": True}, id="channel per room", marks=pytest.mark.extended),
    ],
)
def test_two_machines_of_many_workers(machines: Machines, options: dict[str, Any]) -> None:
    first = machines.ours("--workers", "3", **options)
    second = machines.ours("--workers", "2", **options)
    clients = [machines.client(url) for url in [first.url] * 6 + [second.url] * 4]
    for number, client in enumerate(clients):
        client.ask("join", "even" if number % 2 == 0 else "odd")
    speaker = clients[0]
    if options:  # a room's own channel is heard a moment after the room has filled
        for client in clients[1::2]:
            repeat(lambda: speaker.ask("say", "ready?", {"to": ["odd"]}), client)
        speaker.ask("say", "all ready", {})
        for client in clients:
            while client.hear() != ["all ready"]:
                pass
    speaker.ask("say", "to even", {"to": "even"})
    speaker.ask("say", "to both", {"to": ["odd", "even"]})
    speaker.ask("say", "end", {})
    for number, client in enumerate(clients):
        hears_in_order(client, *([["to even"]] if number % 2 == 0 else []), ["to both"], ["end"])
    for client in clients[1:]:
        assert list(speaker.ask("call", client.sid)) == [f"7 from {client.sid}", 7]
    assert sorted(speaker.ask("members", "odd")) == sorted(client.sid for client in clients[1::2])
    speaker.ask("expire", clients[-1].sid, 1)
    assert clients[-1].gone.wait(WAIT_SECONDS), "its credentials end on the other machine"
    connection = redis.Redis.from_url(machines.url)
    try:
        assert connection.pubsub_numsub(machines.channel) == [(machines.channel.encode(), 2)], (
            "one subscription for each machine"
        )
    finally:
        connection.close()


def figures(server: Any) -> dict[str, int]:
    """What a server of one worker tells on its control socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_SECONDS)
        connection.connect(default_path(int(server.url.rpartition(":")[2])))
        connection.sendall(b'{"method": "status"}\n')
        told: dict[str, int] = json.loads(connection.makefile().readline())["figures"]
        return told


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_broker_that_goes_while_much_is_said(
    serve: Any, new_redis: Callable[..., Any], request: Any
) -> None:
    """Local delivery goes on; what waits is bounded, what is dropped is counted; one line each way."""
    broker = new_redis()
    machines = Machines(serve, broker.url)
    request.addfinalizer(machines.close)
    server = machines.ours()
    speaker, listener = machines.client(server.url), machines.client(server.url)
    speaker.ask("flood", 1000, "x" * 1000)
    broker.stop()
    server.wait_for("is lost")
    before_bytes = resident_bytes(server.pid)
    for number in range(100):
        speaker.ask("say", number, {})
        if number % 10 == 0:
            speaker.ask("flood", 3000, "x" * 1000)
    hears_in_order(listener, *([number] for number in range(100)))
    told = figures(server)
    assert told["broker_connected"] == 0
    assert told["broker_queued_messages"] <= QUEUE_MAX_COUNT
    assert told["broker_queued_bytes"] <= QUEUE_MAX_BYTES
    assert told["broker_dropped_messages"] >= 10 * 3000 - QUEUE_MAX_COUNT
    assert resident_bytes(server.pid) - before_bytes < 5 * QUEUE_MAX_BYTES
    broker.start()
    server.wait_for("is there again")
    with Emitter(broker.url, machines.channel) as emitter:
        emitter.emit("said", "from outside", to=[listener.sid])
    assert listener.hear() == ["from outside"]
    told = figures(server)
    assert told["broker_connected"] == 1
    assert server.log.count("is lost") == server.log.count("is there again") == 1
    for line in server.log.splitlines():
        assert "WARNING" in line or ("is lost" not in line and "is there again" not in line)


def test_a_broker_that_stands_still(serve: Any, new_redis: Callable[..., Any], request: Any) -> None:
    broker = new_redis()
    machines = Machines(serve, broker.url)
    request.addfinalizer(machines.close)
    server = machines.ours("--workers", "2")
    clients = [machines.client(server.url) for _ in range(4)]
    broker.pause()
    try:
        clients[0].ask("say", "meanwhile", {})
        for client in clients:
            assert client.hear() == ["meanwhile"]
        server.wait_for("is lost")
        clients[0].ask("say", "still", {})
        for client in clients:
            assert client.hear() == ["still"]
    finally:
        broker.resume()
    server.wait_for("is there again")


def test_a_broker_that_is_not_there_at_first(serve: Any, new_redis: Callable[..., Any], request: Any) -> None:
    broker = new_redis()
    broker.stop()
    machines = Machines(serve, broker.url)
    request.addfinalizer(machines.close)
    server = machines.server()
    server.wait_for("cannot be reached")
    client = machines.client(server.url)
    client.ask("say", "alone", {})
    assert client.hear() == ["alone"]
    broker.start()
    server.wait_for("is there again")


def test_what_is_foreign_on_the_channel_harms_nobody(machines: Machines) -> None:
    server = machines.ours()
    client = machines.client(server.url)
    connection = redis.Redis.from_url(machines.url)
    hostile = [
        b"",
        b"\x80\x04\x95pickle",
        b"\xff" * 100,
        b"[" * 100_000,
        b'{"method":"emit","event":"said","data":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"method":"eval"}',
        b'{"method":"disconnect"}',
        b'{"method":"emit","event":"said","binary":true,"data":["x"]}',
        b'{"method":"wsframe_lead"}',
    ]
    for message in hostile * 3:
        connection.publish(machines.channel, message)
        connection.publish(machines.channel + "#wsframe", message)
    # One: Redis cuts off who has more than 32 MiB to take.
    connection.publish(machines.channel, b"x" * (17 * 1024 * 1024))
    connection.publish(machines.channel, b'{"method":"emit","event":"said","data":["end"]}')
    connection.close()
    assert client.hear() == ["end"]
    told = figures(server)
    # All but our own kind's word that names nobody.
    assert told["broker_refused_messages"] == 3 * (2 * len(hostile) - 1) + 1
    for kind in ("malformed", "foreign", "deeply nested", "oversized"):
        server.wait_for(f"was refused: {kind} message")
        assert server.log.count(f"was refused: {kind} message") == 1, server.log


def test_the_leader_dies_and_another_worker_hears_the_channel(machines: Machines) -> None:
    server = machines.ours("--workers", "3")
    homes = machines.everywhere(server, 3)
    leader = int(re.findall(r"worker 1 \(process (\d+)\) serves", server.log)[0])
    os.kill(leader, signal.SIGKILL)
    server.wait_for("worker 4 (process")
    rest = [client for client, home in homes.items() if home != leader]
    numbers = count(1)
    with Emitter(machines.url, machines.channel) as emitter:
        heard = repeat(lambda: emitter.emit("said", next(numbers)), rest[0])
        emitter.emit("said", "end")
    for client in rest:
        said = [heard] if client is rest[0] else []
        while not said or said[-1] != ["end"]:
            said.append(client.hear())
        told = [item for (item,) in said[:-1]]
        assert told == sorted(set(told)), "each once, in order"


def test_a_rolling_restart_loses_and_doubles_nothing_from_the_broker(machines: Machines) -> None:
    """The leader drains: its successor goes on at the same place of the stream."""
    server = machines.ours("--workers", "2")
    clients = list(machines.everywhere(server, 2))
    stop = threading.Event()

    def speak() -> None:
        with Emitter(machines.url, machines.channel) as emitter:
            number = 0
            while not stop.wait(0.002):
                number += 1
                emitter.emit("said", number)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        assert [client.hear() for client in clients] == [[1]] * len(clients)
        server.signal(signal.SIGHUP)
        for client in clients:
            assert client.gone.wait(WAIT_SECONDS)
    finally:
        stop.set()
        speaker.join()
    last = []
    for client in clients:
        numbers = [1]
        while not client.heard.empty():
            numbers += client.heard.get()
        assert numbers == list(range(1, len(numbers) + 1))
        last.append(len(numbers))
    assert max(last) > min(last), "some were on the worker that took over"


def test_a_session_of_another_machine_is_refused_with_the_balancers_setting(machines: Machines) -> None:
    """Polling through a balancer without affinity: told to the client, and in the log."""
    here, there = (machines.ours("--workers", "2") for _ in range(2))
    path = "/socket.io/?EIO=4&transport=polling"
    with urllib.request.urlopen(there.url + path) as answer:
        sid = json.loads(answer.read()[1:])["sid"]
    assert re.fullmatch(r"[\w-]{4}\.[0-9]+\.[\w-]{20}", sid)
    for _ in range(8):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{here.url}{path}&sid={sid}")
        with refused.value as body:
            told = json.loads(body.read())
        assert (refused.value.code, told["code"]) == (400, 1)
        assert "ip_hash" in told["message"]
        assert "WebSocket only" in told["message"]
    here.wait_for("another machine")
    lines = [line for line in here.log.splitlines() if "WARNING" in line and "another machine" in line]
    assert 1 <= len(lines) <= 2  # of each worker that was asked
    assert all("ip_hash" in line for line in lines)
    with urllib.request.urlopen(f"{there.url}{path}&sid={sid}", b"3") as answer:  # nothing has happened to it
        assert answer.status == 200
