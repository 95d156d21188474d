"""The words that python-socketio's server and ours share: emit, rooms, sessions, call, the manager.

It must not know sockets.
"""

from typing import Any

import pytest

from python_server import Namespace as FlaskNamespace
from python_server.api.python_socketio import Namespace
from served_server import Served


def test_a_namespace_as_a_class(served: Served) -> None:
    class Shop(Namespace):
        def on_connect(self, sid: str, environ: Any) -> None:
            self.emit("opened", (1, 2), to=sid)

        def on_buy(self, sid: str, what: str) -> str:
            return f"bought {what}"

    served.server.register_namespace(Shop("/shop"))
    peer = served.peer()
    peer.say("0/shop,")
    peer.say('2/shop,7["buy","tea"]')
    assert peer.heard()[1:] == ['2/shop,["opened",1,2]', '3/shop,7["bought tea"]']


def test_a_namespace_may_route_events_itself(served: Served) -> None:
    class Router(Namespace):
        def trigger_event(self, event: str, *args: Any) -> Any:
            got.append((event, len(args)))
            return super().trigger_event(event.lower(), *args)

        def on_connect(self, sid: str, environ: Any) -> None:
            assert environ["QUERY_STRING"] == "a=1"

        def on_disconnect(self, sid: str) -> None: ...

        def on_buy(self, sid: str, what: str) -> tuple[str, str]:
            return "bought", what

    got: list[Any] = []
    served.server.register_namespace(Router("/shop"))
    peer = served.peer()
    peer.join("/shop")
    peer.say('2/shop,7["BUY","tea"]', '2/shop,8["sell"]')
    peer.say("1/shop,")
    assert peer.heard() == ['3/shop,7["bought","tea"]', "3/shop,8[]"]
    assert got == [("connect", 3), ("BUY", 2), ("sell", 1), ("disconnect", 2)]


def test_a_namespace_of_all_is_told_which(world: Any) -> None:
    class Everywhere(Namespace):
        def on_connect(self, namespace: str, sid: str, environ: Any) -> None:
            got.append(namespace)

        def on_buy(self, namespace: str, sid: str, what: str) -> None:
            got.append((namespace, what))

    got: list[Any] = []
    served = Served(world, namespaces="*")
    served.server.register_namespace(Everywhere("*"))
    peer = served.peer()
    peer.join("/shop")
    peer.say('2/shop,["buy","tea"]')
    assert got == ["/shop", ("/shop", "tea")]


def test_an_object_with_methods_is_a_namespace_too_but_not_that_of_the_other_face(served: Served) -> None:
    class Shop:
        namespace = "/shop"
        server: Any = None

        def on_buy(self, sid: str) -> str:
            return "bought"

    served.server.register_namespace(Shop())
    peer = served.peer()
    peer.join("/shop")
    peer.say('2/shop,1["buy"]')
    assert peer.heard() == ['3/shop,1["bought"]']
    with pytest.raises(ValueError, match=r"Not a namespace instance.*python_server.api.python_socketio"):
        served.server.register_namespace(FlaskNamespace("/shop"))
    assert not Namespace("/a").is_asyncio_based()
    assert not served.server.is_asyncio_based()


def test_a_handler_may_be_out_of_order_and_has_a_rate(served: Served) -> None:
    ran: list[int] = []
    served.server.on("buy", lambda sid, number: ran.append(number), ordered=False, rate_limit="2/s")
    peer = served.peer()
    peer.join()
    for number in range(3):
        peer.say(f'2["buy",{number}]')
    served.world.run()
    assert ran == [0, 1]
    assert any("closing" in said for said in peer.heard())


def test_emit_with_rooms_skips_and_a_callback(served: Served) -> None:
    peers = [served.peer() for _ in range(3)]
    sids = [peer.join() for peer in peers]
    for sid in sids[:2]:
        served.server.enter_room(sid, "red")
    served.server.emit("to red", None, room="red", skip_sid=sids[0])
    served.server.emit("but red", [1], except_rooms="red")
    got: list[Any] = []
    served.server.emit("q", to=sids[0], callback=lambda *values: got.append(values))
    served.world.run()
    (question,) = peers[0].heard()
    peers[0].say("3" + question[1 : question.index("[")] + '["a",2]')
    assert [peers[1].heard(), peers[2].heard()] == [['2["to red"]'], ['2["but red",[1]]']]
    assert got == [("a", 2)]


def test_below_the_server_stand_a_manager_and_environs(served: Served) -> None:
    first, second = served.peer(), served.peer()
    sid, other = first.join(), second.join()
    server = served.server
    server.enter_room(sid, "red")
    eio_sid = first.session.sid
    assert server.manager.get_participants("/", "red") == [(sid, eio_sid)]
    assert set(server.manager.get_rooms(sid, "/")) == {sid, "red"}
    assert server.manager.is_connected(other, "/")
    assert not server.manager.is_connected("nobody", "/")
    assert server.manager.sid_from_eio_sid("nobody", "/") is None
    assert server.environ[eio_sid]["QUERY_STRING"] == "a=1"
    with pytest.raises(KeyError):
        server.environ["nobody"]
