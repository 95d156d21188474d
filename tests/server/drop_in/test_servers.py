"""The classes that programs make their servers with: which mode they name, and python-engineio's bound.

It must not know what the classes do.
"""

import os
import threading
from unittest.mock import Mock

import flask
import pytest

import python_server
from python_server.drop_in import servers, turns
from python_server.drop_in.waiting import Timeout
from python_server.engineio.options import Payload
from python_server.net.threads import WORKER
from python_server.net.turn import PROGRAM


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often turns were asked for."""
    found: list[str] = []
    monkeypatch.setattr(servers, "need_turns", lambda: found.append("turns"))
    return found


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "gevent_uwsgi"])
def test_a_mode_of_greenlets_asks_for_turns(asked: list[str], mode: str) -> None:
    socketio = servers.SocketIO(flask.Flask("x"), async_mode=mode)
    assert asked == ["turns"]
    assert isinstance(socketio, python_server.SocketIO)
    servers.SocketIO().init_app(flask.Flask("x"), async_mode=mode)
    servers.Server(async_mode=mode)
    servers.EngineServer(async_mode=mode)
    assert asked == ["turns"] * 4


def test_threads_ask_for_none(asked: list[str]) -> None:
    servers.SocketIO(flask.Flask("x"), async_mode="threading")
    servers.SocketIO(async_mode="threading").init_app(flask.Flask("x"))
    servers.Server(async_mode="threading")
    assert asked == []


@pytest.mark.parametrize("installed", [True, False])
def test_no_mode_is_the_one_that_the_stock_server_takes(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """Greenlets, where they are installed: `gunicorn -k eventlet` serves programs that never name them."""
    monkeypatch.setattr(servers, "PathFinder", Mock(find_spec=lambda name: name if installed else None))
    later = servers.SocketIO()
    servers.SocketIO(None, message_queue=None)
    assert asked == []  # neither serves, and the first may be told a mode yet
    later.init_app(app=flask.Flask("x"))
    servers.SocketIO(flask.Flask("x"), async_mode=None)
    servers.Server()
    servers.EngineServer()
    assert len(asked) == 4 * installed


def test_an_unknown_mode_is_refused_as_ever(asked: list[str]) -> None:
    with pytest.raises(ValueError, match="Invalid async_mode"):
        servers.SocketIO(flask.Flask("x"), async_mode="nonsense")


def test_a_program_may_subclass_and_compare(asked: list[str]) -> None:
    class Own(servers.SocketIO):  # type: ignore[misc, name-defined]
        pass

    assert isinstance(Own(flask.Flask("x")), servers.SocketIO)
    assert servers.SocketIO is servers.SocketIO
    assert servers.SocketIO.__name__ == "SocketIO"
    with pytest.raises(AttributeError):
        servers.nobody  # noqa: B018


def test_the_payloads_bound_is_that_of_all_servers() -> None:
    class Real:
        max_decode_packets = 16

    bounding = servers.bounding(Real)
    try:
        bounding.max_decode_packets = 50
        assert Payload.max_decode_packets == 50
        assert bounding().max_decode_packets == 50  # as the clients read it
        bounding.other = 1
        with pytest.raises(ValueError, match="max_decode_packets"):
            bounding.max_decode_packets = 0
    finally:
        Payload.max_decode_packets = None


def test_turns_are_asked_for_once_and_on_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    let_run: list[str] = []
    monkeypatch.setattr(turns, "warn_once", warned.append)
    monkeypatch.setattr(turns, "let_others_run", lambda: let_run.append("once"))
    try:
        turns.need_turns()
        assert PROGRAM.turn is None  # nobody has allowed them
        monkeypatch.setattr(turns.CHOSEN, "turns", True)
        monkeypatch.setattr(turns.CHOSEN, "began", False)
        thread = threading.Thread(target=turns.need_turns)
        thread.start()
        thread.join()
        assert PROGRAM.turn is None
        assert "the program comes to greenlets too late" in warned[0]
        monkeypatch.setattr(turns.CHOSEN, "turns", True)
        turns.need_turns()
        turn = PROGRAM.turn
        turns.need_turns()
        assert PROGRAM.turn is turn is WORKER.turn is not None
        assert let_run == ["once"]
        child = os.fork()
        if not child:
            alone = PROGRAM.turn is WORKER.turn is None
            turns.begin_again()
            again = WORKER.turn is PROGRAM.turn is not None and PROGRAM.turn is not turn
            os._exit(0 if alone and again else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert WORKER.turn is turn
    finally:
        PROGRAM.turn = WORKER.turn = None


def test_a_servers_sleep_ends_with_a_timeout() -> None:
    for server in (servers.SocketIO(), servers.Server(async_mode="threading")):
        with pytest.raises(Timeout), Timeout(0.001):
            server.sleep(3600)
