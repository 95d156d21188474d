"""python-socketio's and python-engineio's words on the hub (api/python_socketio.py, api/python_engineio.py).

It must not know sockets; the same servers behind real ones stand in tests/e2e/wire/test_server_api.py.
"""

import inspect
import logging
from typing import Any

import engineio
import pytest
import socketio

from python_server.api import python_socketio
from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import Namespace, Server, WSGIApp, exceptions
from served_server import Served


def test_clients_and_managers_stay_the_peers_own() -> None:
    for name in ("Client", "ClientNamespace", "RedisManager"):
        assert getattr(python_socketio, name) is getattr(socketio, name)
    manager = python_socketio.RedisManager("redis://h/3")
    assert Server(manager).mount("/socket.io/").broker.url == "redis://h/3"
    for name in ("AsyncServer", "Sever"):
        with pytest.raises(AttributeError, match=f"has no '{name}'"):
            getattr(python_socketio, name)


def test_what_cannot_be_is_refused() -> None:
    for build in (
        lambda: Server(connection_state_recovery={"max": 1}),
        lambda: Server().on("a", print, inlien=True),
        lambda: Server().on("connect", print, inline=True),
        lambda: EngineServer().on("message", print, inline=True),
    ):
        with pytest.raises(TypeError):
            build()
    with pytest.raises(ValueError, match="serializer"):
        Server(serializer="pickle")
    with pytest.raises(ValueError, match="client_manager"):
        Server("redis://127.0.0.1")
    with pytest.raises(ValueError, match="async_mode"):
        Server(async_mode="asyncio")
    with pytest.raises(ValueError, match="events"):
        EngineServer().on("event", print)


def test_the_peers_arguments_are_taken_by_place_and_by_name(caplog: Any) -> None:
    """R33."""
    by_place = Server(socketio.Manager(), True, "msgpack", None, False, True, ["/a"], ping_interval=3)
    by_name = Server(
        client_manager=None,
        logger=logging.getLogger("mine"),
        serializer="msgpack",
        json=None,
        async_handlers=True,
        always_connect=True,
        namespaces=["/a"],
        async_mode="eventlet",
        engineio_logger=True,
        monitor_clients=False,
        ping_interval=3,
    )
    for server in (by_place, by_name):
        mount = server.mount("/socket.io/")
        assert mount.options.ping_interval_seconds == 3
        assert type(mount.hub.codec).__name__ == "MsgpackCodec"
        assert [mount.hub.handlers.serves(name) for name in ("/a", "/", "/b")] == [True, False, False]
    assert Server(namespaces=[]).mount("/").hub.handlers.serves("/")
    assert caplog.messages == []


def test_every_parameter_of_the_peer_has_its_place() -> None:
    for theirs, ours in (
        (socketio.Server, Server),
        (socketio.Namespace, Namespace),
        (socketio.WSGIApp, WSGIApp),
        (socketio.Server.emit, Server.emit),
        (socketio.Server.send, Server.send),
        (socketio.Server.call, Server.call),
        (socketio.Server.instrument, Server.instrument),
        (socketio.Namespace.send, Namespace.send),
        (socketio.Namespace.call, Namespace.call),
        (engineio.Server, EngineServer),
    ):
        places = [
            name
            for name, parameter in inspect.signature(theirs).parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        assert list(inspect.signature(ours).parameters)[: len(places)] == places, ours


@pytest.mark.parametrize(("theirs", "ours"), [(socketio.Server, Server), (socketio.Namespace, Namespace)])
def test_every_method_of_the_peer_is_there(theirs: type, ours: type) -> None:
    assert {name for name in dir(theirs) if name[0] != "_"} - set(dir(ours)) <= {"reserved_events"}


def test_a_coroutine_is_refused_at_registration(served: Served) -> None:
    async def later(sid: str) -> None: ...

    with pytest.raises(TypeError, match="later is an async def: this server runs plain functions"):
        served.server.on("later", later)


@pytest.mark.parametrize("takes_most", [True, False])
def test_handlers_get_as_much_as_they_take(served: Served, takes_most: bool) -> None:
    got: list[Any] = []
    if takes_most:
        served.server.on("connect", lambda sid, environ, auth: got.append((environ["QUERY_STRING"], auth)))
        served.server.on("disconnect", lambda sid, reason: got.append(reason))
    else:
        served.server.on("connect", lambda sid, environ: got.append(environ["QUERY_STRING"]))
        served.server.on("disconnect", lambda sid: got.append("gone"))
    peer = served.peer()
    peer.join(auth={"k": 1})
    peer.say("1")
    assert got == ([("a=1", {"k": 1}), "client disconnect"] if takes_most else ["a=1", "gone"])


def test_a_client_without_credentials_has_none(served: Served) -> None:
    """Its CONNECT may carry an empty object, as that of python-socketio's client does."""
    got: list[Any] = []
    served.server.on("connect", lambda sid, environ, auth: got.append(auth))
    for auth in (None, {}, {"a": 1}):
        served.peer().join(auth=auth)
    assert got == [None, None, {"a": 1}]


def test_credentials_are_an_object(served: Served) -> None:
    peer = served.peer()
    peer.say('0"token"')
    assert peer.link.closed


def test_an_inline_handler_waits_for_no_thread(served: Served) -> None:
    got: list[int] = []
    served.server.on("quick", lambda sid, value: got.append(value), inline=True)
    served.server.on("slow", lambda sid, value: got.append(value))
    peer = served.peer()
    peer.join()
    peer.say('2["quick",1]', '2["slow",2]', run=False)
    assert got == [1]
    served.world.run()
    assert got == [1, 2]


def test_the_catch_all_gets_the_name_first_and_no_reserved_ones(served: Served) -> None:
    got: list[Any] = []
    served.server.on("*", lambda event, sid, *values: got.append((event, values)))
    peer = served.peer()
    peer.join()
    peer.say('2["made up",1]', "1")
    assert got == [("made up", (1,))]


def test_handlers_of_any_namespace_get_its_name(world: Any) -> None:
    served = Served(world, namespaces="*")
    got: list[Any] = []
    served.server.on("connect", lambda *told: got.append((told[0], len(told))), namespace="*")
    served.server.on("buy", lambda namespace, sid, what: got.append((namespace, what)), namespace="*")
    served.server.on("*", lambda event, namespace, sid: got.append((event, namespace)), namespace="*")
    served.server.on("disconnect", lambda namespace, sid: got.append(namespace), namespace="*")
    peer = served.peer()
    peer.join("/shop")
    peer.say('2/shop,["buy","tea"]', '2/shop,["leave"]', "1/shop,")
    assert got == [("/shop", 4), ("/shop", "tea"), ("leave", "/shop"), "/shop"]


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (exceptions.ConnectionRefusedError("no", 1), '{"message":"no","data":1}'),
        (socketio.exceptions.ConnectionRefusedError("no", 1), '{"message":"no","data":1}'),
        (socketio.exceptions.ConnectionRefusedError("no"), '{"message":"no"}'),
        (ConnectionRefusedError(), '{"message":"Connection refused by server"}'),
    ],
)
def test_a_connect_handler_refuses_in_the_words_of_either_package(
    served: Served, error: Exception, refusal: str
) -> None:
    def refuse(*told: Any) -> None:
        raise error

    class Router(Namespace):
        def trigger_event(self, event: str, *args: Any) -> None:
            raise error

    served.server.on("connect", refuse)
    served.server.register_namespace(Router("/class"))
    peer = served.peer()
    peer.say("0", "0/class,")
    assert peer.heard() == [f"4{refusal}", f"4/class,{refusal}"]


def test_the_admin_page_is_let_in(caplog: Any) -> None:
    server = Server(namespaces=["/"])
    with pytest.raises(ValueError, match="auth must be specified"):
        server.instrument()
    server.instrument({"username": "ann", "password": "pw"}, "production", True, "shop", "/a", 5)
    assert server.mount("/").hub.handlers.serves("/a")
    server.instrument(auth=False, namespace="/b")
    assert caplog.messages == [
        "the Admin UI asks for no credentials: who reaches /b sees and does all it can"
    ]


def test_shutdown_stops_nothing() -> None:
    server = Server()
    server.shutdown()
    server.start_background_task(str).join()


def test_background_tasks_are_threads() -> None:
    ran: list[Any] = []
    task = Server().start_background_task(lambda *args, **words: ran.append((args, words)), 1, n=2)
    task.join()
    assert (ran, task.daemon, task.is_alive()) == ([((1,), {"n": 2})], True, False)
    Server().sleep(0)


def test_recovery_can_be_asked_for(world: Any) -> None:
    served = Served(world, connection_state_recovery={"max_disconnection_duration": 5, "max_bytes": 10})
    peer = served.peer()
    peer.join()
    assert set(peer.names) == {"sid", "pid"}
