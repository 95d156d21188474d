"""Servers joined by a real RabbitMQ: ours with each other, with python-socketio's, with writers outside.

It must not know how a message is written. Every wait is for something that was said.
"""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_socketio
import kombu
import pytest
import trustme

from joined_machines import WAIT_SECONDS, Client, Machines, repeat
from own_rabbitmq import OwnRabbitMQ
from python_server import Emitter
from python_server.api.emitter import EmitError


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRabbitMQ]:
    """Its authority is in ca.pem of its folder `tls`; another one's is in other.pem."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    server = OwnRabbitMQ(folder)
    yield server
    server.close()


def hears(client: Client, *expected: Any) -> None:
    """`expected` and nothing else, the last of it being said to everybody."""
    assert [client.hear() for _ in expected] == list(expected)


def test_our_servers_stock_ones_and_writers_are_one(rabbitmq: OwnRabbitMQ, join: Any, tmp_path: Path) -> None:
    """Rooms, exceptions, bytes, acks, members and disconnects, each way; and what is foreign is refused."""
    machines = join(rabbitmq.url)
    first, second, theirs = machines.ours("--workers", "2"), machines.ours(), machines.theirs()
    here, other, there = (machines.client(url) for url in (first.url, second.url, theirs))
    clients = [here, other, there]
    for client in clients:
        client.ask("join", "red")
    for speaker in clients:
        rest = [client for client in clients if client is not speaker]
        speaker.ask("say", {"n": [1, b"\0"]}, {"to": "red"})
        speaker.ask("say", "but you", {"to": "red", "skip_sid": rest[0].sid})
        speaker.ask("say", "just you", {"to": rest[1].sid})
        speaker.ask("say", "end", {})
        hears(speaker, [{"n": [1, b"\0"]}], ["but you"], ["end"])
        hears(rest[0], [{"n": [1, b"\0"]}], ["end"])
        hears(rest[1], [{"n": [1, b"\0"]}], ["but you"], ["just you"], ["end"])
    for asker, answerer in ((here, there), (there, here), (here, other)):
        asker.sio.emit("ask", answerer.sid)
        assert asker.hear() == ["answered", [f"8 from {answerer.sid}", 8]]
    assert list(other.ask("call", there.sid)) == [f"7 from {there.sid}", 7]
    assert list(other.ask("call", here.sid)) == [f"7 from {here.sid}", 7]
    assert sorted(here.ask("members", "red")) == sorted([here.sid, other.sid])

    manager = machines.outside()
    flask_outside = flask_socketio.SocketIO(message_queue=machines.url, channel=machines.channel)
    machines.managers.append(flask_outside.server.manager)
    flask_outside.emit("said", ("flask", b"\1"), to="red")
    command = ["emit", "said", '"command"', "--url", machines.url, "--channel", machines.channel]
    program = str(Path(sys.executable).with_name("wsframe"))
    subprocess.run([program, *command], check=True, timeout=WAIT_SECONDS)
    with Emitter(machines.url, machines.channel) as emitter:
        emitter.emit("said", "ours", b"\1", to=["red"], skip_sid=there.sid)
        emitter.emit("said", "end")
    hears(here, ["flask", b"\1"], ["command"], ["ours", b"\1"], ["end"])
    hears(other, ["flask", b"\1"], ["command"], ["ours", b"\1"], ["end"])
    hears(there, ["flask", b"\1"], ["command"], ["end"])

    there.sio.emit("send away", other.sid)
    assert other.gone.wait(WAIT_SECONDS)
    here.sio.emit("send away", there.sid)
    assert there.gone.wait(WAIT_SECONDS)

    mark = tmp_path / "unpickled"
    say_what_is_foreign(machines, mark)
    manager.emit("said", "end")
    hears(here, ["end"])
    for kind in ("malformed", "foreign"):
        for server in (first, second):
            server.wait_for(f"was refused: {kind} message")
            assert server.log.count(f"was refused: {kind} message") == 1, server.log
    assert not mark.exists()


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


def say_what_is_foreign(machines: Machines, mark: Path) -> None:
    """Pickles among it, under the type that kombu would unpickle, and text that it would inflate."""
    with kombu.Connection(machines.url) as connection:
        channel = connection.channel()

        def say(body: bytes, exchange: str, key: str = "", **how: Any) -> None:
            channel.basic_publish(channel.prepare_message(body, **how), exchange, key)

        questions = f"{machines.channel}#wsframe"
        for _ in range(3):
            trap = pickle.dumps({"method": "emit", "event": "said", "data": Trap(mark)})
            kind = "application/x-python-serialize"
            say(trap, machines.channel, content_type=kind, content_encoding="binary")
            say(trap, questions, questions, content_type=kind, content_encoding="binary")
            say(b"x\x9c\x03", machines.channel, headers={"compression": "application/x-gzip"})
            say(b'{"method": "eval"}', machines.channel, content_type="text/plain", content_encoding="rot13")
            say(b"\xff" * 100, machines.channel, content_type="text/plain", content_encoding="utf-8")
            say(b"", machines.channel)
            say(b'{"method": "disconnect"}', machines.channel)


@pytest.mark.extended
def test_the_broker_goes_and_comes_back(rabbitmq: OwnRabbitMQ, join: Any) -> None:
    """Killed, so its queues are gone: what was said at a machine is heard there, and waits for the others."""
    machines = join(rabbitmq.url)
    first, second = machines.ours("--workers", "2"), machines.ours()
    speaker, neighbour, listener = (machines.client(url) for url in (first.url, first.url, second.url))
    rabbitmq.stop()
    try:
        for server in (first, second):
            server.wait_for("is lost")
        speaker.ask("say", "alone", {})
        hears(neighbour, ["alone"])
    finally:
        rabbitmq.start()
    for server in (first, second):
        server.wait_for("is there again")
    repeat(lambda: speaker.ask("say", "?", {}), listener)
    assert sorted(speaker.ask("members", None)) == sorted([speaker.sid, neighbour.sid, listener.sid])
    for server in (first, second):
        assert server.log.count("is lost") == server.log.count("is there again") == 1, server.log


@pytest.mark.extended
def test_a_broker_that_stands_still(rabbitmq: OwnRabbitMQ, join: Any) -> None:
    machines = join(rabbitmq.url)
    server = machines.ours()
    clients = [machines.client(server.url) for _ in range(2)]
    rabbitmq.pause()
    try:
        clients[0].ask("say", "meanwhile", {})
        for client in clients:
            assert client.hear() == ["meanwhile"]
        server.wait_for("is lost")
    finally:
        rabbitmq.resume()
    server.wait_for("is there again")


@pytest.mark.extended
def test_a_worker_leaves_to_a_successor_and_nothing_is_lost_or_doubled(
    rabbitmq: OwnRabbitMQ, join: Any
) -> None:
    machines = join(rabbitmq.url)
    rolled, other = machines.ours("--workers", "2"), machines.ours()
    stays = machines.client(other.url)
    rolled.signal(1)
    with Emitter(machines.url, machines.channel) as emitter:
        for number in range(500):
            emitter.emit("said", number)
        rolled.wait_ended(2)
        emitter.emit("said", "end")
        hears(stays, *([number] for number in range(500)), ["end"])
        comes = machines.client(rolled.url)
        emitter.emit("said", "to the successor", to=comes.sid)
        emitter.emit("said", "the very end")
        heard = [comes.hear()]
        while heard[-1] != ["the very end"]:
            heard.append(comes.hear())
        assert heard[-2] == ["to the successor"]
        assert all(word == ["end"] for word in heard[:-2]), "its machine may be behind the other one"


@pytest.mark.extended
@pytest.mark.parametrize("per_room", [False, True])
def test_over_tls(rabbitmq: OwnRabbitMQ, join: Any, tmp_path_factory: Any, per_room: bool) -> None:
    machines = join(f"{rabbitmq.tls_url}?ssl_ca_certs={rabbitmq.tls}/ca.pem")
    machines.options = {"channel_per_room": per_room}
    first, second = machines.ours(), machines.ours()
    speaker, listener = machines.client(first.url), machines.client(second.url)
    room = "r" * 300
    listener.ask("join", room)
    repeat(lambda: speaker.ask("say", "x" * 300_000, {"to": room}), listener)
    assert list(speaker.ask("call", listener.sid)) == [f"7 from {listener.sid}", 7]


@pytest.mark.extended
def test_an_authority_that_is_not_the_brokers_is_told(rabbitmq: OwnRabbitMQ, join: Any) -> None:
    url = f"{rabbitmq.tls_url}?ssl_ca_certs={rabbitmq.tls}/other.pem"
    server = join(url).server()
    server.wait_for("cannot be reached: ")
    server.wait_for("certificate verify failed")
    with Emitter(url) as emitter, pytest.raises(EmitError, match="certificate verify failed"):
        emitter.emit("news")


@pytest.mark.extended
def test_a_wrong_password_is_told(rabbitmq: OwnRabbitMQ, join: Any) -> None:
    server = join(rabbitmq.url.replace("guest:guest", "guest:guessed")).server()
    server.wait_for("cannot be reached: ")
    server.wait_for("ACCESS_REFUSED")
    assert "guessed" not in server.log
