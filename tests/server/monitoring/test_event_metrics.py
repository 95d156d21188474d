"""What is counted of clients and events, and under which labels (event_metrics.py).

It must not know how figures are written.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.monitoring.catalogue import CATALOGUE, DURATIONS
from python_server.monitoring.event_metrics import NAMES_MAX_COUNT, EventMetrics, counts_of
from python_server.monitoring.figures import BOUNDS
from python_server.socketio.client import ConnectionRefused, Handler, InvalidArguments
from python_server.socketio.server import Hub
from socketio_world import World


class Counted(World):
    """Whose clients are counted."""

    def serve(self, hub: Hub) -> None:
        self.metrics = EventMetrics(lambda: self.now, [hub.handlers])
        self.services = replace(self.services, traffic_of=self.metrics.traffic_of)
        super().serve(hub)

    def total(self, name: str, *labels: str) -> float:
        return self.metrics.figures().totals.get(f"wsframe_{name}_total", {}).get(labels, [0])[0]

    def durations(self) -> dict[tuple[str, ...], list[float]]:
        return self.metrics.figures().totals.get(DURATIONS, {})


THREADS_COUNT = 4
DURATIONS_COUNT = 5000


@pytest.fixture
def threads_often_interrupted() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_events_acks_and_handlers_are_counted_by_namespace(counted: Counted) -> None:
    counted.on("say", lambda socket, word: counted.advance(2))
    peer, other = counted.peer(), counted.peer()
    peer.say('2["say","x"]', '2["nobody"]', '3999["late"]')
    counted.hub.emit("news", ["x"])
    counted.run()
    assert counted.total("events_received", "/") == 2
    assert counted.total("events_received_bytes", "/") == len('2["say","x"]' + '2["nobody"]')
    assert counted.total("events_unhandled", "/") == 1
    assert counted.total("acks_received", "/") == 1
    assert counted.total("events_sent", "/") == 2
    assert counted.total("events_sent_bytes", "/") == 2 * len(b"\x81\x0e" + b'42["news","x"]')
    row = counted.durations()["/", "say"]
    assert (row[BOUNDS.index(2.5)], row[-1], sum(row[:-1])) == (1, 2.0, 1)
    other.lose(DisconnectReason.PING_TIMEOUT)
    assert counted.total("clients_connected", "/") == 2
    assert counted.total("clients_disconnected", "/", "ping timeout") == 1


def test_errors_and_refusals_are_counted(counted: Counted) -> None:
    def refuse(socket: Any, auth: Any) -> Any:
        raise ConnectionRefused("no")

    counted.on("divide", lambda socket: 1 // 0)

    def invalid(socket: Any, *values: Any) -> Any:
        raise InvalidArguments("no", "$")

    counted.on("connect", refuse, "/closed")
    counted.on("say", invalid)
    counted.on("connect", invalid, "/strict")
    counted.peer().say('2["divide"]', '2["say"]', '2["say"]', "0/closed,", "0/nowhere,", "0/strict,")
    assert counted.total("events_invalid", "/", "say") == 2
    assert counted.total("events_invalid", "/strict", "connect") == 1
    assert counted.total("clients_refused", "/strict") == 1
    assert counted.total("handler_errors", "/", "say") == 0
    assert counted.total("handler_errors", "/", "divide") == 1
    assert counted.total("clients_refused", "/closed") == 1
    assert counted.total("clients_refused", "other") == 1


def test_a_client_can_make_no_label(counted: Counted) -> None:
    counted.hub.handlers.allow(["*"])
    counted.on("*", namespace="/")
    counted.hub.handlers.on_namespace("/whole", Handler(lambda *_: None), ["known"])
    for number in range(50):
        peer = counted.peer(None)
        peer.say(f"0/made{number},", f'2/made{number},["x"]')
    peer.say("0", *(f'2["made{number}"]' for number in range(50)))
    peer.say("0/whole,")
    peer.say('2/whole,["known"]', '2/whole,["made"]')
    figures = counted.metrics.figures()
    labels = {label for rows in figures.totals.values() for row in rows for label in row}
    assert labels == {"/", "/whole", "known", "other"}
    assert counted.total("events_received", "other") == 50
    assert set(counted.durations()) == {("/", "other"), ("/whole", "known"), ("/whole", "other")}


def test_an_application_has_so_many_names(counted: Counted) -> None:
    for number in range(NAMES_MAX_COUNT + 5):
        counted.on(f"event{number}")
    peer = counted.peer()
    peer.say(*(f'2["event{number}"]' for number in range(NAMES_MAX_COUNT + 5)))
    durations = counted.durations()
    assert len(durations) == NAMES_MAX_COUNT + 1
    assert sum(durations["/", "other"][:-1]) == 5
    for number in range(NAMES_MAX_COUNT + 5):
        counted.hub.handlers.allow([f"/{number}"])
    for number in range(NAMES_MAX_COUNT + 5):
        peer.say(f"0/{number},")
    connected = counted.metrics.figures().totals["wsframe_clients_connected_total"]
    assert len(connected) == NAMES_MAX_COUNT + 1


def test_sessions_are_counted_by_transport_and_reason() -> None:
    metrics = EventMetrics(lambda: 0.0, [])
    session: Any = SimpleNamespace(transport="polling")
    metrics.session_opened(session)
    metrics.session_upgraded(session)
    metrics.session_closed(session, DisconnectReason.SLOW_CLIENT)
    metrics.request_refused(session, "Session ID unknown")
    metrics.request_refused(session, "a client speaks protocol 'made'")
    totals = metrics.figures().totals
    assert totals["wsframe_sessions_opened_total"] == {("polling",): [1]}
    assert totals["wsframe_sessions_upgraded_total"] == {(): [1]}
    assert totals["wsframe_sessions_closed_total"] == {("slow client",): [1]}
    assert totals["wsframe_session_requests_refused_total"] == {("Session ID unknown",): [1], ("other",): [1]}


def test_a_duration_falls_into_the_first_bucket_that_holds_it(counted: Counted) -> None:
    traffic = counted.metrics.traffic_of("/")
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.001, 99.0):
        traffic.handled("made", counted.now - seconds, False)
    row = counted.durations()["/", "other"]
    assert (row[0], row[1], row[-2], sum(row[:-1])) == (2, 1, 1, 4)
    assert row[-1] == pytest.approx(99.001, abs=0.001)


def test_no_duration_is_lost_between_threads(counted: Counted, threads_often_interrupted: None) -> None:
    for number in range(THREADS_COUNT):
        counted.on(f"event{number}")
    took = counted.metrics.traffic_of("/").took
    ready = Barrier(THREADS_COUNT + 1)

    def work() -> None:
        ready.wait()
        for number in range(DURATIONS_COUNT):
            took[f"event{number % THREADS_COUNT}"](0.25)
            took[f"made{number}"](0.25)

    threads = [Thread(target=work) for _ in range(THREADS_COUNT)]
    for thread in threads:
        thread.start()
    ready.wait()
    while any(thread.is_alive() for thread in threads):
        counted.metrics.figures()
    rows = counted.durations()
    each = DURATIONS_COUNT * THREADS_COUNT
    assert sum(sum(row[:-1]) for row in rows.values()) == 2 * each
    assert sum(rows["/", "other"][:-1]) == each
    assert sum(row[-1] for row in rows.values()) == 2 * each * 0.25


def test_a_client_that_came_back_is_counted(counted: Counted) -> None:
    traffic = counted.metrics.traffic_of("/")
    traffic.connected(True)
    traffic.connected(False)
    assert (counted.total("clients_connected", "/"), counted.total("clients_recovered", "/")) == (2, 1)


def test_what_was_counted_is_a_value_of_its_own(counted: Counted) -> None:
    counted.on("say")
    peer = counted.peer()
    peer.say('2["say"]')
    first = counted.metrics.figures()
    peer.say('2["say"]')
    assert first.totals["wsframe_events_received_total"]["/",] == [1]
    assert sum(first.totals[DURATIONS]["/", "say"][:-1]) == 1


def test_every_name_stands_in_the_catalogue() -> None:
    assert set(counts_of(EventMetrics(lambda: 0.0, []).traffic_of("/"))) <= set(CATALOGUE)
