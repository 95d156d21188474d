"""One worker's part in the stream that machines share: reads it for its machine, keeps records beside it.

Must not know: what an event says, who is in a room, when this worker is to read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from python_server.socketio.cluster.broker.connections import BrokerLinkState, Connect, Publisher, Stream
from python_server.socketio.cluster.broker.leader import Place
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels, Incoming
from python_server.socketio.cluster.broker.records import BrokerRecords
from python_server.socketio.cluster.broker.services import BrokerServices
from python_server.socketio.cluster.broker.stream import StreamOrder, read_batch
from python_server.socketio.cluster.broker.stream_reader import StreamBatch, StreamReader, place_from
from python_server.socketio.cluster.port import Backplane, Receiver


class SharedStream:
    """Every method belongs to the loop's thread.

    Args:
        inner: the other workers of this machine. handle: takes what is neither an event nor a command.
        began: called when the stream is read from here on. post: any thread: a call on the loop.

    Attributes:
        order: between whoever passes the stream on and this worker's own clients.
        records: where lost clients are kept.
    """

    def __init__(
        self,
        connect: Connect,
        stream: Stream,
        channels: Channels,
        place: Place,
        publisher: Publisher,
        reader: ChannelReader,
        inner: Backplane,
        handle: Callable[[list[Incoming]], None],
        began: Callable[[], None],
        post: Callable[..., None],
        services: BrokerServices,
    ) -> None:
        self._connect = connect
        self._stream = stream
        self._publisher = publisher
        self._reader = reader
        self._began = began
        self._post = post
        self._services = services
        self._wanted = False
        self._feed: StreamReader | None = None
        self.order: StreamOrder = StreamOrder(inner, handle, self._flush, place.settled, services.call_later)
        self.records: BrokerRecords = BrokerRecords(
            place.name,
            channels.record_of,
            publisher.ask,
            post,
            services.secret,
            stream.name,
            reader,
        )

    def before(self, receiver: Receiver) -> Receiver:
        """Who hears the siblings in front of this worker's own clients."""
        self.order.receiver = receiver
        return self.order

    def look(self) -> None:
        """Workers have come or gone."""
        self.order.look()
        if self._feed is not None:
            self.order.tell()

    def read(self, wanted: bool) -> None:
        """For our machine, from now on, or no more."""
        self._wanted = wanted
        if wanted:
            self.order.find_begin(self._read_from)
        else:
            self.close()

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _read_from(self, place: int) -> None:
        if self._wanted and self._feed is None:
            feed = partial(StreamReader, self._connect, self._changed, self._heard, self._stream, place)
            self._feed = feed(self._services.system)
            self._feed.start()

    def _heard(self, batch: StreamBatch) -> None:
        """The thread that reads."""
        came = read_batch(self._reader, batch)
        size_bytes = sum(len(payload) for _, payload in batch.entries if payload)
        self._post(self.order.take, came, nbytes=size_bytes)
        if not batch.entries:
            self._post(self._began)

    def _changed(self, state: BrokerLinkState, reason: str) -> None:
        if state is BrokerLinkState.LOST:
            self._post(self._services.complain, "broker stream", f"the stream cannot be read: {reason}")

    def _flush(self, told: Callable[[int | None], None]) -> None:
        """The newest place of the stream, once all we have said is in it."""

        def heard(newest: Any) -> None:
            self._post(told, None if newest is None else place_from(newest[0][0]) if newest else 0)

        self._publisher.ask(heard, b"XREVRANGE", self._stream.name, b"+", b"-", b"COUNT", b"1")
