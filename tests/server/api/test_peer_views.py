"""The views below python-socketio's Server: who is where, which sessions there are, what the engine was told.

It must not know sockets: a server on a simulated world, and the peers of its clients.
"""

from typing import Any

import pytest

from python_server.api.peer_views import EngineView, Environs, Manager, QueueManager
from python_server.engineio.options import EngineOptions
from python_server.socketio.cluster.broker.url import read_broker
from python_server.socketio.server import Hub
from served_server import Served


def joined(served: Served, *namespaces: str) -> tuple[Any, list[str]]:
    """A peer that has joined each namespace, and its sids."""
    for namespace in namespaces:
        served.server.on("buy", lambda sid: None, namespace=namespace)
    peer = served.peer()
    sids = []
    for namespace in namespaces:
        peer.say("0" if namespace == "/" else f"0{namespace},")
        sids.append(peer.heard()[-1].split('"sid":"')[1].split('"')[0])
    return peer, sids


def test_nobody_is_anywhere_before_the_server_serves() -> None:
    hub = Hub()
    manager = Manager(hub)
    assert (manager.rooms, [*manager.get_namespaces()], manager.get_participants("/", None)) == ({}, [], [])
    assert EngineView(hub, EngineOptions).sockets == {}
    assert len(Environs(hub, lambda socket: {})) == 0


def test_rooms_by_namespace_and_name(served: Served) -> None:
    _, (main, shop) = joined(served, "/", "/shop")
    _, (other,) = joined(served, "/")
    manager = served.server.manager
    served.server.enter_room(main, "red")
    served.server.enter_room(other, "red")
    rooms = manager.rooms
    eio = {sid: manager.eio_sid_from_sid(sid, "/") for sid in (main, other)}
    assert rooms == {
        "/": {None: eio, "red": eio, main: {main: eio[main]}, other: {other: eio[other]}},
        "/shop": {None: {shop: eio[main]}, shop: {shop: eio[main]}},
    }
    rooms.clear()  # a copy
    assert sorted(manager.rooms) == sorted(manager.get_namespaces()) == ["/", "/shop"]
    assert sorted(manager.get_participants("/", "red")) == sorted(eio.items())
    assert sorted(manager.get_rooms(main, "/")) == sorted(["red", main])
    assert manager.sid_from_eio_sid(str(eio[main]), "/shop") == shop
    assert manager.sid_from_eio_sid("none", "/shop") is None
    assert manager.eio_sid_from_sid("nobody", "/") is None
    assert (manager.is_connected(main, "/"), manager.is_connected("nobody", "/")) == (True, False)


def test_the_manager_emits(served: Served) -> None:
    peer, (sid,) = joined(served, "/")
    manager = served.server.manager
    told: list[Any] = []
    manager.emit("e", (1, 2), "/", room=sid)
    manager.emit("e", None, namespace="/", skip_sid=sid)
    manager.emit("ask", {"a": 1}, "/", to=sid, callback=lambda *values: told.append(values))
    manager.emit("e", 3, "/", sid, colour="red")
    with pytest.raises(TypeError, match=r"manager\.emit has no option 'romm': did you mean 'room'\?"):
        manager.emit("e", 4, "/", romm=sid)
    served.world.run()
    heard = peer.heard()
    number = heard[1].removeprefix("2").partition("[")[0]
    assert heard == ['2["e",1,2]', f'2{number}["ask",{{"a":1}}]', '2["e",3]']
    peer.say(f"3{number}[5,6]")
    served.world.run()
    assert told == [(5, 6)]


def test_sessions_of_the_engine(served: Served) -> None:
    _, (main, _) = joined(served, "/", "/shop")
    eio_sid = str(served.server.manager.eio_sid_from_sid(main, "/"))
    view = EngineView(served.server._hub, EngineOptions)
    assert [*view.sockets] == [eio_sid]
    socket = view.sockets[eio_sid]
    assert (socket.sid, socket.connected, socket.closed) == (eio_sid, True, False)
    assert view.transport(eio_sid) == served.server.transport(main)
    assert socket.upgraded is (view.transport(eio_sid) == "websocket")
    with pytest.raises(KeyError):
        view.transport("none")


def test_options_of_the_engine_in_the_peers_words() -> None:
    options = EngineOptions(ping_interval_seconds=7, max_payload_bytes=5, cookie="io")
    view = EngineView(Hub(), lambda: options)
    assert (view.ping_interval, view.max_http_buffer_size, view.cookie) == (7, 5, "io")
    assert (view.async_mode, view.ping_timeout) == ("threading", 20)
    with pytest.raises(AttributeError):
        view.no_such_option  # noqa: B018


def test_environs_by_engine_sid(served: Served) -> None:
    _, (sid,) = joined(served, "/")
    environs = served.server.environ
    (eio_sid,) = environs
    assert eio_sid == served.server.manager.eio_sid_from_sid(sid, "/")
    assert (environs[eio_sid] is served.server.get_environ(sid), len(environs)) == (True, 1)
    assert environs.get("none") is None


def test_a_queues_view_is_taken_for_a_client_manager() -> None:
    """As programs hand on `server_options` of one SocketIO to another."""
    manager = QueueManager("redis://h", "c", {"health_check_interval": 5}, write_only=True)
    broker = read_broker({"client_manager": manager}, "other")
    assert broker is not None
    assert (broker.url, broker.channel, broker.redis_options) == (
        "redis://h",
        "c",
        {"health_check_interval": 5},
    )
