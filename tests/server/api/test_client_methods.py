"""The methods of python-socketio's server that ask or move one client.

It must not know sockets.
"""

import pytest

from python_server.api.python_socketio import Namespace
from served_server import Served


def test_a_namespace_asks_its_server_in_its_own_namespace_unless_told_otherwise(served: Served) -> None:
    class Shop(Namespace):
        def on_buy(self, sid: str) -> None: ...

    shop = Shop("/shop")
    served.server.register_namespace(shop)
    served.server.on("buy", lambda sid: None, namespace="/far")
    peer = served.peer()
    sids = {}
    for namespace in ("/shop", "/far"):
        peer.say(f"0{namespace},")
        sids[namespace] = peer.heard()[-1].split('"sid":"')[1].split('"')[0]
    own, far = sids["/shop"], sids["/far"]
    shop.enter_room(own, "red")
    shop.enter_room(far, "red", "/far")
    assert [set(shop.rooms(own, None)), set(shop.rooms(far, namespace="/far"))] == [
        {own, "red"},
        {far, "red"},
    ]
    with shop.session(own) as session:
        session["n"] = 1
    shop.save_session(far, {"n": 2}, "/far")
    assert [shop.get_session(own)["n"], served.server.get_session(far, "/far")["n"]] == [1, 2]
    shop.send("own", skip_sid="nobody")
    shop.send("far", None, "red", None, "/far")
    shop.emit("e", 1, None, "red", None, "/far")
    shop.close_room("red")
    shop.emit("nobody's", room="red")
    shop.leave_room(far, "red", "/far")
    shop.disconnect(own)
    served.world.run()
    assert peer.heard() == [
        '2/shop,["message","own"]',
        '2/far,["message","far"]',
        '2/far,["e",1]',
        "1/shop,",
    ]
    assert served.server.rooms(far, "/far") == [far]


def test_rooms_cannot_be_those_of_other_clients(served: Served) -> None:
    first, second = (served.peer().join() for _ in range(2))
    with pytest.raises(ValueError, match="sid room"):
        served.server.enter_room(first, second)
    with pytest.raises(ValueError, match="sid room"):
        served.server.close_room(first)
    with pytest.raises(ValueError, match="not connected"):
        served.server.enter_room("nobody", "red")


def test_sessions_are_a_dictionary_per_client(served: Served) -> None:
    first, second = (served.peer().join() for _ in range(2))
    with served.server.session(first) as session:
        session["n"] = 1
    served.server.save_session(second, {"n": 2})
    assert [served.server.get_session(sid)["n"] for sid in (first, second)] == [1, 2]
    stored_counts = [served.server._find(sid, None).data_count for sid in (first, second)]
    assert stored_counts == [1, 1], "so a record of them is stored anew"
    assert served.server.transport(first) == "websocket"
    environ = served.server.get_environ(first)
    assert environ is not None
    assert environ["QUERY_STRING"] == "a=1"
    assert served.server.get_environ("nobody") is None
    with pytest.raises(KeyError):
        served.server.get_session("nobody")


def test_call_needs_an_addressee(served: Served) -> None:
    with pytest.raises(ValueError, match="one client"):
        served.server.call("q")


def test_a_class_ends_the_credentials_of_its_own_clients(served: Served) -> None:
    reasons: list[str] = []

    class Shop(Namespace):
        def on_disconnect(self, sid: str, reason: str) -> None:
            reasons.append(reason)

    shop = Shop("/shop")
    served.server.register_namespace(shop)
    peer = served.peer()
    peer.say("0/shop,")
    sid = peer.heard()[0].split('"sid":"')[1].split('"')[0]
    soon = served.world.services.wall() + 5
    served.server.expire(sid, soon)  # of another namespace: nobody
    shop.expire(sid, soon + 5)
    with pytest.raises(ValueError, match="has passed"):
        shop.expire(sid, soon - 10)
    served.world.run()
    served.world.advance(5)
    assert peer.heard() == []
    served.world.advance(5)
    assert (peer.heard()[-1], reasons) == ("1/shop,", ["auth expired"])


def test_what_is_known_of_a_member(served: Served) -> None:
    sid = served.peer().join()
    server = served.server
    server.enter_room(sid, "red", meta={"name": "Ann"}, key="ann")
    server.update_meta(sid, "red", {"name": "Eve"})
    served.world.run()
    assert server.room_members("red") == [sid]
    assert server.room_members("red", meta=True) == [{"sid": sid, "key": "ann", "meta": {"name": "Eve"}}]
    with pytest.raises(ValueError, match="allowed are 4096"):
        server.update_meta(sid, "red", {"name": "x" * 5000})
