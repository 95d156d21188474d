"""Emitter and the options that name a broker: what is published, what is refused, and when it says so.

It must not know servers: a plain subscriber hears what is published.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
import redis
import socketio

from python_server import Emitter, Server, SocketIO
from python_server.api.emitter import EmitError
from python_server.socketio.cluster.broker.url import BrokerError


class Ears:
    """What is published on one channel."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._ears = self._client.pubsub(ignore_subscribe_messages=True)
        self._ears.subscribe(channel)
        self._ears.get_message(timeout=60)

    def hear(self) -> dict[str, Any]:
        while True:
            message = self._ears.get_message(timeout=60)
            if message is not None:
                heard: dict[str, Any] = json.loads(message["data"])
                return heard

    def close(self) -> None:
        self._ears.close()
        self._client.close()


@pytest.fixture
def ears(redis_server: Any) -> Iterator[Ears]:
    ears = Ears(redis_server.url, "flask-socketio")
    yield ears
    ears.close()


def test_words_of_an_emitter(redis_server: Any, ears: Ears) -> None:
    with Emitter(redis_server.url) as emitter:
        emitter.emit("e", {"a": 1}, 2, to="r", skip_sid="x", namespace="/n")
        said = ears.hear()
        assert said["data"] == [{"a": 1}, 2]
        assert (said["method"], said["room"], said["skip_sid"], said["namespace"]) == ("emit", "r", "x", "/n")
        emitter.emit("e", ("several", "arguments"))
        assert ears.hear()["data"] == ["several", "arguments"]
        emitter.emit("e", None)
        assert ears.hear()["data"] == []
        emitter.send(b"\0")
        assert ears.hear()["data"] == [[{"_placeholder": True, "num": 0}], "AA=="]
        emitter.disconnect("s", reason="because")
        assert ears.hear() | {"host_id": ""} == {
            "method": "disconnect",
            "sid": "s",
            "detail": "because",
            "namespace": "/",
            "host_id": "",
        }
        until = time.time() + 60
        emitter.expire("s", until, "/n")
        said = ears.hear()
        assert (said["method"], said["sid"], said["at"], said["namespace"]) == ("expire", "s", until, "/n")
        emitter.expire("s", None)
        assert "at" not in ears.hear()
        with pytest.raises(ValueError, match="has passed"):
            emitter.expire("s", time.time() - 1)
        for word, room in (("enter_room", "r"), ("leave_room", 7)):
            getattr(emitter, word)("s", room)
            said = ears.hear()
            assert (said["method"], said["sid"], said["room"]) == (word, "s", room)
        emitter.close_room("r")
        assert ears.hear()["room"] == "r"
        with pytest.raises(TypeError, match="cannot be named"):
            emitter.emit("e", to=1.5)
        with pytest.raises(TypeError):
            emitter.emit("e", object())
        with pytest.raises(TypeError, match="emit has no option 'volatile': it has except_rooms, "):
            emitter.send("e", volatile=True)  # type: ignore[call-arg]


def test_nan_is_null_through_a_broker(redis_server: Any, ears: Ears) -> None:
    with Emitter(redis_server.url) as emitter:
        emitter.emit("e", [float("nan"), 1.5])
    assert ears.hear()["data"] == [[None, 1.5]]


def test_an_emitter_finds_its_broker_again(new_redis: Callable[..., Any]) -> None:
    broker = new_redis()
    with Emitter(broker.url) as emitter:
        emitter.emit("e")
        broker.stop()
        with pytest.raises(EmitError, match="nothing was sent"):
            emitter.emit("e")
        broker.start()
        ears = Ears(broker.url, "flask-socketio")
        emitter.emit("again")
        assert ears.hear()["event"] == "again"
        ears.close()


def test_a_package_s_connection_that_was_refused_is_closed() -> None:
    """It may be half there: who tries again and again would leave one each time."""
    closed: list[object] = []

    class Refused:
        def connect(self) -> None:
            raise ConnectionError("not today")

        def close(self) -> None:
            closed.append(self)

    class Broker:
        publisher = Refused

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("python_server.api.emitter.client_of", lambda options: Broker())
        emitter = Emitter("tin://localhost")
    for attempt in (1, 2):
        with pytest.raises(EmitError, match="not today"):
            emitter.emit("e")
        assert len(closed) == attempt


def test_an_old_connection_that_died_is_replaced_unseen(new_redis: Callable[..., Any]) -> None:
    broker = new_redis()
    with Emitter(broker.url) as emitter:
        emitter.emit("e")
        broker.stop()
        broker.start()
        emitter.emit("e")


class Entries:
    """What is added to one stream."""

    def __init__(self, url: str, name: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._name, self._last = name, "0"

    def hear(self) -> dict[str, Any]:
        told: Any = self._client.xread({self._name: self._last}, count=1, block=60_000)
        ((_, ((self._last, fields),)),) = told
        assert list(fields) == [b"data"]
        heard: dict[str, Any] = json.loads(fields[b"data"])
        return heard

    def __len__(self) -> int:
        return int(self._client.xlen(self._name))

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def entries(redis_server: Any) -> Iterator[Entries]:
    entries = Entries(redis_server.url, "machines")
    entries._client.delete("machines")
    yield entries
    entries.close()


def streams_of(server: Any, query: str = "") -> str:
    return str(server.url).replace("redis://", "redis+streams://") + query


def test_an_emitter_adds_to_a_stream_and_publishes_nothing(redis_server: Any, entries: Entries) -> None:
    ears = Ears(redis_server.url, "machines")
    with Emitter(streams_of(redis_server), "machines") as emitter:
        emitter.emit("e", {"a": 1}, to="r", namespace="/n")
        emitter.send(b"\0")
        emitter.disconnect("s")
        emitter.close_room("r")
    said = entries.hear()
    assert (said["method"], said["event"], said["data"]) == ("emit", "e", [{"a": 1}])
    assert (said["room"], said["namespace"]) == ("r", "/n")
    assert entries.hear()["data"] == [[{"_placeholder": True, "num": 0}], "AA=="]
    assert [entries.hear()["method"] for _ in range(2)] == ["disconnect", "close_room"]
    with Emitter(redis_server.url, "machines") as plain:
        plain.emit("first that is published")
    assert ears.hear()["event"] == "first that is published"
    ears.close()


def test_a_stream_is_kept_about_as_long_as_its_url_says(redis_server: Any, entries: Entries) -> None:
    with Emitter(streams_of(redis_server, "?maxlen=100"), "machines") as emitter:
        for number in range(500):
            emitter.emit("e", number)
    assert 100 <= len(entries) <= 200  # Redis drops a hundred at a time


def test_a_stream_that_takes_nothing_is_told(new_redis: Callable[..., Any]) -> None:
    broker = new_redis()
    with redis.Redis.from_url(broker.url) as client, Emitter(streams_of(broker), "s") as emitter:
        client.set("s", "no stream")
        with pytest.raises(EmitError, match=r"nothing was sent through the broker .*: WRONGTYPE"):
            emitter.emit("e")
        client.delete("s")
        emitter.emit("e")
        assert client.xlen("s") == 1


def test_socketio_without_an_application_adds_to_a_stream(redis_server: Any, entries: Entries) -> None:
    outside = SocketIO(message_queue=streams_of(redis_server), channel="machines")
    outside.emit("e", 1)
    assert entries.hear()["event"] == "e"
    assert outside._outside is not None
    outside._outside.close()


@pytest.mark.parametrize("make", [Emitter, SocketIO])
def test_a_stream_that_cannot_be(make: Any) -> None:
    with pytest.raises(BrokerError, match="is no number of entries"):
        make(**{"url" if make is Emitter else "message_queue": "redis+streams://localhost?maxlen=0"})


def test_socketio_without_an_application(redis_server: Any, ears: Ears) -> None:
    outside = SocketIO(message_queue=redis_server.url)
    outside.emit("e", 1, to="r", namespace="/n")
    said = ears.hear()
    assert (said["event"], said["data"], said["room"], said["namespace"]) == ("e", [1], "r", "/n")
    outside.send("hi", to=["a", "b"], skip_sid="x")
    said = ears.hear()
    assert (said["event"], said["room"], said["skip_sid"]) == ("message", ["a", "b"], "x")
    outside.close_room("r")
    assert ears.hear()["method"] == "close_room"
    outside.disconnect("s", "/n")
    assert (ears.hear()["method"]) == "disconnect"
    outside.expire("s", None)
    assert (ears.hear()["method"]) == "expire"
    with pytest.raises(RuntimeError, match="callback"):
        outside.emit("e", callback=print)
    assert outside._outside is not None
    outside._outside.close()


def test_an_application_given_later_serves(redis_server: Any) -> None:
    later = SocketIO(message_queue=redis_server.url, channel="c", redis_options={"health_check_interval": 5})
    app = flask.Flask(__name__)
    later.init_app(app)
    (mount,) = app.wsframe_mounts  # type: ignore[attr-defined]
    assert (mount.broker.url, mount.broker.channel) == (redis_server.url, "c")
    assert later._outside is None


@pytest.mark.parametrize("make", [SocketIO, Server])
def test_what_cannot_be_is_said_when_it_is_given(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokerError, match="begins with redis://"):
        make(message_queue="nats://localhost")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BrokerError, match="pip install redis"):
        make(message_queue="redis://localhost")


def test_the_channels_by_default_are_those_of_the_peers() -> None:
    assert Server(message_queue="redis://h").mount("/socket.io/").broker.channel == "socketio"  # type: ignore[union-attr]
    app = flask.Flask(__name__)
    SocketIO(app, message_queue="redis://h")
    assert app.wsframe_mounts[0].broker.channel == "flask-socketio"  # type: ignore[attr-defined]


def test_a_manager_of_python_socketio_is_taken_for_its_url() -> None:
    manager = socketio.RedisManager("redis://h/3", channel="theirs")
    broker = Server(client_manager=manager).mount("/socket.io/").broker
    assert broker is not None
    assert (broker.url, broker.channel) == ("redis://h/3", "theirs")
    assert Server(client_manager=socketio.Manager()).mount("/socket.io/").broker is None
    with pytest.raises(ValueError, match="PubSubManager is not served"):
        Server(client_manager=socketio.PubSubManager())


class Control:
    """A server's control socket that gives `answers` in turn; an empty one closes the connection."""

    def __init__(self, path: str, answers: list[bytes]) -> None:
        self.heard: list[Any] = []
        self._answers = answers
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            connection, _ = self._listening.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.heard.append(json.loads(line))
                    answer = self._answers.pop(0)
                    connection.sendall(answer)
                    if not answer or not self._answers:
                        break

    def close(self) -> None:
        self._thread.join()
        self._listening.close()


@pytest.fixture
def control(tmp_path: Any) -> Iterator[Callable[..., Control]]:
    made: list[Control] = []

    def make(*answers: bytes) -> Control:
        made.append(Control(str(tmp_path / "control"), list(answers)))
        return made[-1]

    yield make
    for each in made:
        each.close()


GOOD = b'{"ok":true}\n'


def test_a_control_socket_takes_events_and_answers_each(control: Any, tmp_path: Any) -> None:
    server = control(GOOD, GOOD)
    with Emitter(f"unix:{tmp_path}/control", path="/ws") as emitter:
        emitter.emit("e", {"a": 1}, to="r")
        emitter.close_room("r")
    assert [said["method"] for said in server.heard] == ["emit", "close_room"]
    assert (server.heard[0]["data"], server.heard[0]["room"]) == ([{"a": 1}], "r")


def test_a_server_that_was_started_anew_is_reached_over_a_new_line(control: Any, tmp_path: Any) -> None:
    server = control(GOOD, b"", GOOD)
    with Emitter(f"unix:{tmp_path}/control") as emitter:
        for number in range(2):
            emitter.emit("e", number)
    assert [said["data"] for said in server.heard] == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"ok":false,"error":"no such path"}\n', "the server refused: no such path"),
        (b"[]\n", "it does not speak this protocol"),
        (b"HTTP/1.1 400\n", "it does not speak this protocol"),
        (b"", "the connection was closed before the answer"),
    ],
)
def test_what_a_control_socket_says_else_is_an_error(
    control: Any, tmp_path: Any, answer: bytes, words: str
) -> None:
    control(answer)
    with Emitter(f"unix:{tmp_path}/control") as emitter, pytest.raises(EmitError, match=words):
        emitter.emit("e")


def test_where_no_control_socket_is_nobody_answers(tmp_path: Any) -> None:
    with Emitter(f"unix:{tmp_path}/nowhere") as emitter, pytest.raises(EmitError, match="no server answers"):
        emitter.emit("e")
    with pytest.raises(ValueError, match="names no control socket"):
        Emitter("unix:")
