"""Many machines: what is published goes to a broker's channel, what comes from it to this machine's clients.

Must not know: who is in a room, how bytes travel. One worker of a machine, the leader, hears the channel and
passes on what it hears; each worker publishes for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from python_server.net.system import REAL, System
from python_server.net.threads import ServerStopped
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Publisher, Subscriber
from python_server.socketio.cluster.broker.leader import Leadership, Place, Word
from python_server.socketio.cluster.broker.requests import Both, BrokerRequests
from python_server.socketio.cluster.broker.url import connector, without_password
from python_server.socketio.cluster.broker.wire_json import (
    COMMANDS,
    MESSAGE_MAX_BYTES,
    WORDS,
    Method,
    WireError,
    WireMessage,
    envelope_of,
    excepted_of,
    is_like_sid,
    packed_event_of,
    read,
    rooms_of,
    write_callback,
    write_command,
    write_emit,
)
from python_server.socketio.cluster.port import (
    Backplane,
    BrokerOptions,
    Command,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
    Receiver,
)
from python_server.socketio.cluster.requests import AckHeard, AcksQuestion, convert, plain
from python_server.socketio.packet import Codec

# How long an ack of our client is passed on to a server of python-socketio, which has no bound itself.
FOREIGN_ACK_SECONDS: Final = 60.0
# At the end: what was said last may still leave.
FLUSH_SECONDS: Final = 1.0
# How long a sibling may take to say that it has what was passed on to it; a successor waits twice as long.
HAND_OVER_SECONDS: Final = 1.0
# What a successor keeps meanwhile; with more it goes on at once.
HELD_MAX_COUNT: Final = 100_000


@dataclass(frozen=True, slots=True)
class BrokerServices:
    """What the broker's half needs of its worker. `post` is for any thread, all else for the loop's."""

    post: Callable[..., None]
    call_later: Callable[[float, Callable[[], Any]], Any]
    complain: Callable[[str, str], None]
    report: Callable[[str, BaseException], None]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    codec: Callable[[], Codec]
    next_offset: Callable[[], Callable[[], str] | None]
    system: System = REAL


class RedisBackplane:
    """The other machines, and through `inner` the other workers of this one (the Backplane port).

    Args:
        inner: how the other workers of this machine are reached.

    Raises:
        BrokerError: the URL is malformed, or its package is not installed.
    """

    alone = False

    def __init__(
        self, options: BrokerOptions, inner: Backplane, place: Place, services: BrokerServices
    ) -> None:
        connect = connector(options)
        self._options = options
        self._inner = inner
        self._place = place
        self._services = services
        self._receiver: Receiver
        self._channel = options.channel.encode()
        self._questions = f"{options.channel}#wsframe".encode()
        self._inbox = f"{options.channel}#wsframe#{place.name}".encode()
        self._up: dict[str, bool | None] = {"publish": None, "subscribe": None}
        self._lost_told = False
        self._unsaid: Callable[[], None] | None = None
        self.dropped_count = self.refused_count = self.received_count = 0
        system, dropped = services.system, partial(self._post, self._dropped)
        self._publisher = Publisher(connect, partial(self._link_changed, "publish"), dropped, system)
        self._subscriber = Subscriber(
            connect, partial(self._link_changed, "subscribe"), self._heard, MESSAGE_MAX_BYTES, system
        )
        self._leading = Leadership(place, self._listen, self._say_word, self._settle, self._hold)
        # What the channel brings while our predecessor has not left, and what may end the wait.
        self._held: list[tuple[Callable[..., None], Any]] | None = None
        self._patience: Any = None
        self._distant = BrokerRequests(
            place.name,
            self._publisher.publish,
            self._channel,
            self._questions,
            services.call_later,
            self._post,
        )

    def _post(self, function: Callable[..., None], *args: Any, nbytes: int = 0) -> None:
        """Any thread: have it called by the loop; nobody waits for it once the server has stopped."""
        try:
            self._services.post(function, *args, nbytes=nbytes)
        except ServerStopped:
            pass

    # The port

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._inner.start(receiver)
        self._subscriber.want(self._inbox)
        self._leading.look()
        self._publisher.start()
        self._subscriber.start()

    def publish(self, message: Envelope | Command) -> None:
        self._inner.publish(message)
        name = self._place.name
        if isinstance(message, Envelope):
            if message.rooms == ():
                return
            try:
                payload = write_emit(message, name, self._services.codec())
            except (TypeError, ValueError) as error:  # MessagePack has words that JSON has not
                self._services.complain("unwritable message", f"an event stays on this machine: {error}")
                return
            self._publisher.publish(self._channel_of(message.namespace, message.rooms), payload)
        else:
            names = {"sid": message.sid, "room": message.room, "detail": message.detail}
            given = {key: value for key, value in names.items() if value is not None}
            self._publisher.publish(
                self._channel, write_command(str(message.kind), name, message.namespace, **given)
            )

    def request(
        self,
        question: Question,
        heard: Callable[[Any], None],
        ended: Callable[[int], None],
        timeout_seconds: float | None,
    ) -> None:
        if question.kind is QuestionKind.FETCH:  # only this machine can answer
            self._inner.request(question, heard, ended, timeout_seconds)
            return
        both = Both(ended)
        self._inner.request(question, heard, both.ended, timeout_seconds)
        if self._up["publish"]:
            self._distant.ask(question, heard, both.ended, timeout_seconds)
        else:
            both.ended(1)

    def close(self) -> None:
        self._distant.close()
        self._inner.close()
        if self._up["publish"]:
            self._publisher.flush(FLUSH_SECONDS)
        self._publisher.close()
        self._subscriber.close()

    # Rooms with channels of their own

    def _channel_of(self, namespace: str, rooms: tuple[Any, ...] | None) -> bytes:
        if not self._options.per_room or rooms is None or len(rooms) != 1 or is_like_sid(rooms[0]):
            return self._channel
        return self._room_channel(namespace, rooms[0])

    def _room_channel(self, namespace: str, room: Any) -> bytes:
        return f"{self._options.channel}#{namespace}#{room}".encode("utf-8", "backslashreplace")

    @property
    def room_held(self) -> Callable[[str, Any, bool], None] | None:
        """What is to be told of rooms that this process holds; None where all share one channel."""
        return self._room_held if self._options.per_room else None

    def _room_held(self, namespace: str, room: Any, held: bool) -> None:
        """Loop's thread: the first client of this process has entered a room, or the last has left."""
        change = self._subscriber.want if held else self._subscriber.unwant
        change(self._room_channel(namespace, room))
        self._poke()

    def _listen(self, listens: bool) -> None:
        change = self._subscriber.want if listens else self._subscriber.unwant
        change(self._channel, self._questions)
        self._poke()

    def _say_word(self, word: Word, successor: str | None) -> None:
        said = write_command(Method[word.name], self._place.name, "/", detail=successor)
        self._publisher.publish(self._channel, said, self._lead_said if word is Word.LEAD else None)

    def _lead_said(self, reached_count: int | None) -> None:
        """The publisher's thread, or ours: a word that was dropped is said again."""
        if reached_count is None:
            self._post(self._leading.subscribed)

    def _settle(self) -> None:
        """Whoever answers has handled all that was passed on to it before: one way, in order."""
        question = Question(QuestionKind.SETTLED, "/")
        self._inner.request(
            question, lambda part: None, lambda silent_count: self._leading.settled(), HAND_OVER_SECONDS
        )

    def _hold(self, holds: bool) -> None:
        if holds:
            self._held = []
            self._patience = self._services.call_later(2 * HAND_OVER_SECONDS, self._leading.go_on)
        else:
            self._patience.cancel()
            held, self._held = self._held or [], None
            self._take(held)

    def _poke(self) -> None:
        """Have the subscriber look at what is wanted: it does after anything it hears."""
        self._publisher.publish(self._inbox, b"{}")

    def look(self) -> None:
        """Loop's thread: workers have come or gone."""
        self._leading.look()
        if self._unsaid is not None and self._place.settled():
            say, self._unsaid = self._unsaid, None
            if self._place.leads():
                say()

    # What comes

    def _heard(self, messages: list[tuple[bytes, bytes | None]], oversized_count: int) -> None:
        """The subscriber's thread: read all of one receive, then go to the loop once."""
        taken: list[tuple[Callable[..., None], Any]] = []
        size_bytes = 0
        machine = self._place.host_id + "."
        codec, next_offset = self._services.codec(), self._services.next_offset()
        for channel, payload in messages:
            try:
                if payload is None:
                    if channel == self._channel:
                        taken.append((self._on_subscribed, None))
                elif channel == self._inbox:
                    taken.append((self._distant.hear, payload))
                elif channel == self._questions:
                    taken.append((self._asked, payload))
                else:
                    size_bytes += len(payload)
                    message = read(payload)
                    if message.method == "emit" and message.callback is None:
                        if message.host_id is None or not message.host_id.startswith(machine):
                            envelope = envelope_of(message, codec, next_offset)
                            if envelope is not None:
                                shared = channel == self._channel
                                taken.append((self._pass_on if shared else self._receiver.receive, envelope))
                    elif message.method in WORDS:
                        if (message.host_id or "").startswith(machine):
                            taken.append((self._word, message))
                    elif message.method == Method.CALLBACK:
                        if (message.host_id or "").startswith(machine):
                            taken.append((self._acknowledged, message))
                    elif not (message.host_id or "").startswith(machine):
                        taken.append((self._obey, message))
            except WireError as error:
                taken.append((self._refuse, error))
            except Exception as error:  # nothing on a broker ends the thread
                taken.append(
                    (self._refuse, WireError("unreadable message", f"{type(error).__name__}: {error}"))
                )
        if oversized_count:
            oversized = WireError("oversized message", f"more than {MESSAGE_MAX_BYTES} bytes")
            taken += [(self._refuse, oversized)] * oversized_count
        if taken:
            self._post(self._take, taken, nbytes=size_bytes)

    def _take(self, taken: list[tuple[Callable[..., None], Any]]) -> None:
        for function, value in taken:
            try:
                if self._held is not None and self._waits(function, value):
                    self._held.append((function, value))
                else:
                    function(value)
            except Malformed as error:
                self._refuse(WireError("malformed message", str(error)))
            except WireError as error:
                self._refuse(error)
            except Exception as error:
                self._services.report("message from the broker", error)

    def _waits(self, function: Callable[..., None], value: Any) -> bool:
        """Has it its place in the channel's order, behind what our predecessor still passes on?"""
        assert self._held is not None
        if len(self._held) >= HELD_MAX_COUNT:
            self._leading.go_on()
            return False
        return function in (self._pass_on, self._obey, self._acknowledged, self._asked) or (
            function == self._word and value.method != Method.LEFT
        )

    def _word(self, message: WireMessage) -> None:
        self._leading.heard(WORDS[message.method], message.host_id or "", message.detail)

    def _on_subscribed(self, nothing: None) -> None:
        self._leading.subscribed()

    def _refuse(self, error: WireError) -> None:
        self.refused_count += 1
        self._services.complain(
            error.kind, f"a message from the broker's channel {self._options.channel!r} was refused: {error}"
        )

    def _pass_on(self, message: Envelope | Command) -> None:
        if self._leading.passes_on:
            self.received_count += 1
            self._receiver.receive(message)
            self._inner.publish(message)

    def _obey(self, message: WireMessage) -> None:
        kind = COMMANDS.get(Method(message.method))
        if kind is not None:
            sid = message.sid if isinstance(message.sid, str) else None
            room = None if isinstance(message.room, list) else message.room
            self._pass_on(Command(kind, message.namespace or "/", sid, room, message.detail))
        elif message.asked:
            return  # our own kind: it came as a question too
        elif self._leading.passes_on:
            self._ask_for(message)

    def _ask_for(self, message: WireMessage) -> None:
        """An emit of a python-socketio server that awaits the ack: ask the clients of this machine."""
        rooms = rooms_of(message)
        question = Question(
            QuestionKind.ACKS,
            message.namespace or "/",
            plain(
                AcksQuestion(
                    None if rooms is None else list(rooms),
                    list(excepted_of(message)),
                    packed_event_of(message),
                    FOREIGN_ACK_SECONDS,
                )
            ),
        )

        def heard(part: Any) -> None:
            if part.get("type") != "heard" or part.get("values") is None:
                return
            values = convert(part, AckHeard).values or []
            if len(values) == 1:
                self._publisher.publish(self._channel, write_callback(message, values[0]))
            else:
                self._services.complain(
                    "binary ack",
                    "an ack with bytes cannot reach a python-socketio server: its callback has no shape",
                )

        self._receiver.answer(question, lambda part, last=True: heard(part))
        self._inner.request(question, heard, lambda silent_count: None, FOREIGN_ACK_SECONDS)

    def _acknowledged(self, message: WireMessage) -> None:
        """A python-socketio server's client has acknowledged what a worker of this machine asked."""
        if message.host_id == self._place.name:
            self._distant.foreign_ack(message)
        elif self._leading.passes_on:
            self._publisher.publish(
                f"{self._options.channel}#wsframe#{message.host_id}".encode(),
                self._distant.forwarded(message),
            )

    def _asked(self, payload: bytes) -> None:
        """Another worker asks all machines."""
        self._distant.answer(
            payload, self._place.host_id, self._receiver if self._leading.passes_on else None, self._inner
        )

    # How it goes

    def _dropped(self, count: int) -> None:
        self.dropped_count += count
        self._services.complain(
            "broker messages dropped", f"{count} messages did not reach the broker and were dropped"
        )

    def _link_changed(self, name: str, state: BrokerLinkState, reason: str) -> None:
        """A link's thread."""
        self._post(self._changed, name, state is BrokerLinkState.UP, reason)

    def _changed(self, name: str, up: bool, reason: str) -> None:
        first = self._up[name] is None
        self._up[name] = up
        if name == "subscribe" and not up:
            self._publisher.doubt()
            self._leading.lost()
        place = f"the broker {without_password(self._options.url)}"
        if not up and not self._lost_told:
            self._lost_told = True
            what = "cannot be reached" if first else "is lost"
            line = f"{place} {what}: {reason}; this machine serves on alone and keeps trying"
            self._tell(line, self._services.warn)
        elif self._lost_told and self.connected:
            self._lost_told = False
            dropped = f"{self.dropped_count} messages have been dropped so far"
            self._tell(f"{place} is there again; {dropped}", self._services.warn)
        elif first and self.connected:
            self._tell(f"joined {place}, channel {self._options.channel!r}", self._services.say)

    def _tell(self, line: str, say: Callable[[str], None]) -> None:
        """One worker speaks for its machine; until it is known which, the latest word waits."""
        if not self._place.settled():
            self._unsaid = partial(say, line)
        elif self._place.leads():
            say(line)

    @property
    def connected(self) -> bool:
        """Loop's thread: are both connections there?"""
        return all(self._up.values())

    @property
    def leaving(self) -> bool:
        """Loop's thread: do others wait for this worker? Not while the channel is away, and their word."""
        return bool(self._up["subscribe"]) and self._leading.leaves

    def figures(self) -> dict[str, int]:
        """Loop's thread: the gauges and counters of this worker."""
        return {
            "broker_connected": int(self.connected),
            "broker_queued_messages": self._publisher.queued_count,
            "broker_queued_bytes": self._publisher.queued_bytes,
            "broker_published_messages": self._publisher.published_count,
            "broker_received_messages": self.received_count,
            "broker_dropped_messages": self.dropped_count,
            "broker_refused_messages": self.refused_count,
        }
