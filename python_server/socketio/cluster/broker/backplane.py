"""Many machines: what is published goes to a broker's channel, what comes from it to this machine's clients.

Must not know: who is in a room, how bytes travel. One worker of a machine, the leader, hears the channel and
passes on what it hears; each worker publishes for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from python_server.net.threads import ServerStopped
from python_server.socketio.cluster.broker.channel_handler import ChannelHandler
from python_server.socketio.cluster.broker.connections import (
    BrokerLinkState,
    Publisher,
    Stream,
    Subscriber,
)
from python_server.socketio.cluster.broker.entries import BrokerEntries
from python_server.socketio.cluster.broker.foreign_messages import (
    MESSAGE_MAX_BYTES,
    write_command,
    write_emit,
)
from python_server.socketio.cluster.broker.leader import (
    HAND_OVER_SECONDS,
    SUCCESSOR_SECONDS,
    Leadership,
    Place,
    Word,
)
from python_server.socketio.cluster.broker.link_status import PUBLISH, SUBSCRIBE, LinkStatus
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels, Incoming
from python_server.socketio.cluster.broker.plugin_links import PluginConnection, PluginSubscriber
from python_server.socketio.cluster.broker.requests import BrokerRequests, both
from python_server.socketio.cluster.broker.resp import Push
from python_server.socketio.cluster.broker.services import BrokerServices
from python_server.socketio.cluster.broker.shared_stream import SharedStream
from python_server.socketio.cluster.broker.url import client_of, connector
from python_server.socketio.cluster.port import (
    Backplane,
    BrokerOptions,
    Command,
    Envelope,
    PeerRequest,
    Question,
    QuestionKind,
    Receiver,
    RecordStore,
    Reply,
    StreamBegun,
    StreamMarks,
)
from python_server.socketio.cluster.requests import convert
from python_server.socketio.values import RoomName
from python_server.workers.peers import Peers

# At the end: what was said last may still leave.
FLUSH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SiblingReceiver:
    """A Receiver of what other workers of this machine say: what is asked of the leader, the leader answers.

    Attributes:
        receive, ask: of whoever hears all else. relieve: see `Leadership.answer`.
    """

    receive: Callable[[Envelope | Command | StreamMarks | StreamBegun], None]
    ask: Callable[[Question, Reply], None]
    relieve: Callable[[str, list[str], Callable[[], object]], None]

    def answer(self, question: Question, reply: Reply) -> None:
        if question.kind is QuestionKind.RELIEVED:
            asker, behind = convert(question.data, tuple[str, list[str]])
            self.relieve(asker, behind, partial(reply, None))
        else:
            self.ask(question, reply)


class BrokerBackplane:
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
        client = client_of(options)
        connect = connector(options) if client is None else lambda: PluginConnection(client.publisher())
        self._keeps = client is None
        self._inner = inner
        self._place = place
        self._services = services
        self._status = LinkStatus(options, place, services.say, services.warn)
        self._channels = channels = Channels(options.channel, place.name, options.per_room)
        stream = _stream(options, channels, place)
        self._publisher = Publisher(
            connect,
            partial(self._post, self._changed, PUBLISH),
            partial(self._post, self._dropped),
            services.system,
            stream,
            partial(self._post, self._refused),
        )
        hear = partial(self._post, self._changed, SUBSCRIBE), self._heard, MESSAGE_MAX_BYTES, services.system
        self._subscriber = (
            Subscriber(connect, *hear) if client is None else PluginSubscriber(client.subscriber, *hear)
        )
        self._leadership = Leadership[Incoming](
            place,
            self._listen,
            self._say_word,
            self._settle,
            self._ask,
            lambda held: self._handler.take(held),
            services.call_later,
        )
        publish = self._publisher.publish
        self._requests = BrokerRequests(place.name, publish, channels, services.call_later, self._post)
        self._reader = ChannelReader(
            channels, f"{place.host_id}.", services.codec, services.next_offset, services.lead_said
        )
        faults = services.complain, services.report
        self._handler = ChannelHandler(
            place, self._leadership, self._requests, channels, publish, inner, *faults
        )
        # Where events are entries of a stream.
        self._shared = None
        if stream is not None:
            self._shared = SharedStream(
                connect,
                stream,
                channels,
                place,
                self._publisher,
                self._reader,
                inner,
                lambda came: self._handler.take(came),
                self._leadership.subscribed,
                self._post,
                services,
            )

    @property
    def records(self) -> RecordStore | None:
        """Where lost clients are kept for every machine; None without a stream."""
        return None if self._shared is None else self._shared.records

    @property
    def entries(self) -> BrokerEntries | None:
        """What machines leave for each other; None where the broker passes on messages and keeps nothing."""
        if not self._keeps:
            return None
        return BrokerEntries(self._channels.entry_of, self._publisher.ask, self._post)

    def _post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        """Any thread: have it called by the loop; nobody waits for it once the server has stopped."""
        try:
            self._services.post(function, *args, nbytes=nbytes)
        except ServerStopped:
            pass

    # The port

    def start(self, receiver: Receiver) -> None:
        self._handler.receiver = receiver
        first = receiver if self._shared is None else self._shared.before(receiver)
        self._inner.start(SiblingReceiver(first.receive, first.answer, self._leadership.answer))
        self._subscriber.want(self._channels.inbox)
        self._leadership.look()
        self._publisher.start()
        self._subscriber.start()

    def publish(self, message: Envelope | Command | StreamMarks) -> None:
        self._inner.publish(message)
        name = self._place.name
        if isinstance(message, StreamMarks):
            return
        if isinstance(message, Envelope):
            if message.rooms == ():
                return
            try:
                payload = write_emit(message, name, self._services.codec())
            except (TypeError, ValueError) as error:  # MessagePack has words that JSON has not
                self._services.complain("unwritable message", f"an event stays on this machine: {error}")
                return
            if self._shared is not None and message.offset is not None:
                self._shared.order.last = message.offset
            self._publisher.publish(self._channels.of_emit(message.namespace, message.rooms), payload)
        else:
            names = {"sid": message.sid, "room": message.room, "detail": message.detail, "at": message.at}
            names["data"] = message.data
            given = {key: value for key, value in names.items() if value is not None}
            self._publisher.publish(
                self._channels.shared, write_command(message.kind, name, message.namespace, **given)
            )

    def request(self, request: PeerRequest) -> None:
        if request.question.kind in (QuestionKind.FETCH, QuestionKind.SETTLED):  # for this machine alone
            self._inner.request(request)
            return
        if request.to is not None:
            if self._status.up(PUBLISH):
                self._requests.ask(request)
            else:
                request.ended(1)
            return
        half = replace(request, ended=both(request.ended))
        self._inner.request(half)
        if self._status.up(PUBLISH):
            self._requests.ask(half)
        else:
            half.ended(1)

    def close(self) -> None:
        self._requests.close()
        self._inner.close()
        self._subscriber.close()
        if self._status.up(PUBLISH):
            self._publisher.publish(self._channels.inbox, b"{}")  # it looks once it hears something
            self._publisher.flush(FLUSH_SECONDS)
        self._publisher.close()
        if self._shared is not None:
            self._shared.close()

    # What is heard

    @property
    def room_held(self) -> Callable[[str, RoomName, bool], None] | None:
        """What `HubServices.room_held` is to call; None where all rooms share one channel."""
        return self._room_held if self._channels.per_room else None

    def _room_held(self, namespace: str, room: RoomName, held: bool) -> None:
        self._want(held, self._channels.of_room(namespace, room))

    def _want(self, wanted: bool, *channels: bytes) -> None:
        change = self._subscriber.want if wanted else self._subscriber.unwant
        change(*channels)
        # The subscriber looks at what is wanted after anything it hears.
        self._publisher.publish(self._channels.inbox, b"{}")

    def _heard(self, messages: list[Push], oversized_count: int) -> None:
        """The subscriber's thread: read all of one receive, then go to the loop once."""
        came = self._reader.read(messages, oversized_count)
        if came:
            size_bytes = sum([len(payload) for _, payload in messages if payload])
            self._post(self._handler.take, came, nbytes=size_bytes)

    # What the leader needs

    def look(self) -> None:
        """Loop's thread: workers have come or gone."""
        self._leadership.look()
        self._status.look()
        if self._shared is not None:
            self._shared.look()

    def _listen(self, listens: bool) -> None:
        """To what all machines share, from now on, or no more."""
        self._want(listens, self._channels.questions)
        if self._shared is not None:
            self._shared.read(listens)
        else:
            self._want(listens, self._channels.shared)

    def _say_word(self, word: Word, successor: str | None) -> None:
        said = write_command(word, self._place.name, "/", detail=successor)
        self._publisher.publish(self._channels.shared, said, self._lead_said if word is Word.LEAD else None)

    def _lead_said(self, reached_count: int | None) -> None:
        """The publisher's thread, or ours: a word that was dropped is said again."""
        if reached_count is None:
            self._post(self._leadership.subscribed)

    def _settle(self) -> None:
        """Whoever answers has handled all that was passed on to it before: one way, in order."""
        self._inner.request(
            PeerRequest(
                Question(QuestionKind.SETTLED, "/"),
                lambda part: None,
                lambda silent_count: self._leadership.settled(),
                HAND_OVER_SECONDS,
            )
        )

    def _ask(self, behind: list[str], relieved: Callable[[], None]) -> None:
        """Whether somebody still passes on what stands before our word."""
        question = Question(QuestionKind.RELIEVED, "/", [self._place.name, behind])
        heard, ended = lambda part: None, lambda silent_count: relieved()
        self._inner.request(PeerRequest(question, heard, ended, SUCCESSOR_SECONDS))

    # How it goes

    def _dropped(self, count: int) -> None:
        self._status.dropped_count += count
        self._services.complain(
            "broker messages dropped", f"{count} messages did not reach the broker and were dropped"
        )

    def _refused(self, command: str, reason: str) -> None:
        self._services.complain("broker refusal", f"the broker refuses {command}: {reason}")

    def _changed(self, name: str, state: BrokerLinkState, reason: str) -> None:
        if name == SUBSCRIBE and state is BrokerLinkState.LOST:
            self._publisher.doubt()
            self._leadership.lost()
        self._status.changed(name, state, reason)

    @property
    def leaving(self) -> bool:
        """Loop's thread: do others wait for this worker? Not while the channel is away, and their word.

        What the stream has not got yet they wait for in any case.
        """
        owes = self._shared is not None and self._publisher.owes
        return owes or (self._status.up(SUBSCRIBE) and self._leadership.leaves)

    def figures(self) -> dict[str, int]:
        """Loop's thread: the gauges and counters of this worker."""
        return {
            "broker_connected": int(self._status.connected),
            "broker_queued_messages": self._publisher.queued_count,
            "broker_queued_bytes": self._publisher.queued_bytes,
            "broker_published_messages": self._publisher.published_count,
            "broker_received_messages": self._handler.received_count
            + (0 if self._shared is None else self._shared.order.received_count),
            "broker_dropped_messages": self._status.dropped_count,
            "broker_refused_messages": self._handler.refused_count,
        }


def _stream(options: BrokerOptions, channels: Channels, place: Place) -> Stream | None:
    """What all machines share, where that is a stream."""
    if not options.stream_max_count:
        return None
    hole, begin = (write_command(word, place.name, "/") for word in (Word.HOLE, Word.LEFT))
    return Stream(channels.shared, options.stream_max_count, hole, begin)


def join_broker(
    options: BrokerOptions, inner: Backplane, host_id: str, siblings: Peers | None, services: BrokerServices
) -> BrokerBackplane:
    """The backplane of a hub whose machine, `host_id`, is one of many; `siblings`: None for a worker alone.

    Raises:
        BrokerError: see `BrokerBackplane`.
    """
    if siblings is None:
        return BrokerBackplane(options, inner, Place(host_id, 0, lambda: True), services)
    place = Place(
        host_id,
        siblings.index,
        lambda: siblings.met and siblings.leader(),
        lambda: siblings.met,
        siblings.any_unnoticed,
        lambda: siblings.likely_successor() is not None or siblings.any_beginning(),
    )
    backplane = BrokerBackplane(options, inner, place, services)
    siblings.on_changed(backplane.look)
    return backplane
