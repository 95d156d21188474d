"""The classes that programs make their servers with: which mode they name, and python-engineio's bound.

It must not know what the classes do.
"""

import flask
import pytest

import python_server
from python_server.drop_in import servers, turns
from python_server.engineio.options import Payload
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


@pytest.mark.parametrize("mode", [None, "threading"])
def test_threads_ask_for_none(asked: list[str], mode: str | None) -> None:
    servers.SocketIO(flask.Flask("x"), async_mode=mode)
    servers.Server(async_mode=mode)
    assert asked == []


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
    import threading
    import time

    plain = time.sleep
    try:
        turns.need_turns()
        assert PROGRAM.turn is None  # nobody has allowed them
        monkeypatch.setattr(turns.CHOSEN, "turns", True)
        warned: list[str] = []
        monkeypatch.setattr(turns.log, "warn", warned.append)
        thread = threading.Thread(target=turns.need_turns)
        thread.start()
        thread.join()
        assert PROGRAM.turn is None
        assert "the program comes to greenlets too late" in warned[0]
        monkeypatch.setattr(turns.CHOSEN, "turns", True)
        turns.need_turns()
        turn = PROGRAM.turn
        turns.need_turns()
        assert PROGRAM.turn is turn is not None
        turns.let_others_run_in_sleep()
        turns.let_others_run_in_sleep()
        ran = threading.Thread(target=lambda: turn.held().__enter__())
        ran.start()
        while ran.is_alive():
            time.sleep(0.001)  # gives the turn
        assert time.sleep is not plain
        turn.leave()
        time.sleep(0)
    finally:
        vars(time)["sleep"] = plain
        PROGRAM.turn = None
        turns.WORKER.turn = None
