"""The small examples on either package: only the import differs, the answers do not.

It must not know the examples' code beyond their events.
"""

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
PACKAGES = ["python_server", "flask_socketio"]


@pytest.fixture(params=PACKAGES)
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """load("chat"): the example as a module, its import changed."""
    pytest.importorskip(request.param)
    stores: list[Any] = []

    def one(name: str) -> Any:
        path = EXAMPLES / name / "app.py"
        text = path.read_text("utf-8")
        assert text.count("from python_server import") == 1
        module = types.ModuleType(f"example_{name}_{request.param}")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        source = text.replace("from python_server import", f"from {request.param} import")
        exec(compile(source, str(path), "exec"), module.__dict__)
        stores.extend([module.store] if hasattr(module, "store") else [])
        return module

    yield one
    for store in stores:
        store.close()


def names(client: Any, namespace: str | None = None) -> list[str]:
    return [item["name"] for item in client.get_received(namespace)]


def enter(chat: Any, name: str, **auth: str) -> Any:
    """A client in the kitchen, who has read what there was."""
    client = chat.socketio.test_client(chat.app, auth={"name": name, **auth})
    assert client.emit("enter", "Kitchen", callback=True)["room"] == "Kitchen"
    client.get_received()
    return client


def texts(answer: Any) -> list[str]:
    return [message["text"] for message in answer["history"]]


def test_chat(load: Callable[[str], Any]) -> None:
    chat = load("chat")
    ada, grace = enter(chat, "Ada"), enter(chat, "Grace")
    assert not chat.socketio.test_client(chat.app, auth={"name": "ada"}).is_connected()
    assert ada.emit("enter", "Cellar", callback=True) == {"error": "There is no such room."}
    assert names(ada) == ["note", "who"]
    assert grace.emit("say", "hello", callback=True) == {"sent": True}
    (said,) = ada.get_received()[0]["args"]
    assert (said["name"], said["text"]) == ("Grace", "hello")
    assert ada.emit("whisper", "Grace", "psst", callback=True) == {"sent": True}
    assert names(grace)[-1] == "whispered"
    assert ada.emit("whisper", "Nobody", "psst", callback=True) == {"error": "Nobody has left."}
    grace.disconnect()
    assert names(ada)[-2:] == ["note", "who"]


def test_chat_tells_others_who_is_typing(load: Callable[[str], Any]) -> None:
    chat = load("chat")
    ada, grace = enter(chat, "Ada"), enter(chat, "Grace")
    ada.get_received()
    grace.emit("typing")
    assert [item["args"] for item in ada.get_received()] == [["Grace"]]
    assert names(grace) == []


def test_chat_gives_the_last_messages_of_the_room_alone(load: Callable[[str], Any]) -> None:
    chat = load("chat")
    ada = enter(chat, "Ada")
    for number in range(chat.HISTORY_COUNT + 3):
        ada.emit("say", f"line {number}")
    ada.emit("enter", "Garden")
    ada.emit("say", "among roses")
    assert texts(ada.emit("enter", "Garden", callback=True)) == ["among roses"]
    kept = texts(ada.emit("enter", "Kitchen", callback=True))
    assert (len(kept), kept[0], kept[-1]) == (50, "line 3", "line 52")
    assert chat.store.execute("SELECT count(*) FROM said").fetchone() == (51,)


def test_chat_seats_a_page_that_comes_back_before_it_was_missed(load: Callable[[str], Any]) -> None:
    chat = load("chat")
    lost, grace = enter(chat, "Ada", key="hers"), enter(chat, "Grace")
    ada = enter(chat, "Ada", key="hers")
    assert names(grace) == ["who"]  # nobody went out, nobody came in
    assert lost.emit("say", "hello", callback=True) == {"error": "Enter a room and write something."}
    lost.disconnect()
    assert names(grace) == []
    assert ada.emit("say", "hello", callback=True) == {"sent": True}
    assert not chat.socketio.test_client(chat.app, auth={"name": "Ada", "key": "his"}).is_connected()


def test_chats_of_two_workers_share_a_file(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHAT_STORE", str(tmp_path / "chat.db"))
    ours, theirs = load("chat"), load("chat")
    enter(ours, "Ada").emit("say", "hello")
    grace = theirs.socketio.test_client(theirs.app, auth={"name": "Grace"})
    assert texts(grace.emit("enter", "Kitchen", callback=True)) == ["hello"]
    assert grace.get_received()[-1]["args"] == [["Ada", "Grace"]]
    assert not theirs.socketio.test_client(theirs.app, auth={"name": "Ada"}).is_connected()


def test_ticker(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ticker = load("ticker")
    started: list[Callable[..., Any]] = []
    monkeypatch.setattr(ticker.socketio, "start_background_task", started.append)
    clients = [ticker.socketio.test_client(ticker.app) for _ in range(2)]
    assert [names(client) for client in clients] == [["history"], ["history"]]
    assert len(started) == 2  # nothing was given back, so each connect handler tried


def test_namespaces(load: Callable[[str], Any]) -> None:
    workshop = load("namespaces")
    client = workshop.socketio.test_client(workshop.app, namespace="/board")
    client.connect("/bell")
    assert client.emit("add", "saw", callback=True, namespace="/board") == {"id": 1}
    assert "error" in client.emit("add", "saw", callback=True, namespace="/board")
    assert client.emit("finish", 1, callback=True, namespace="/board") == {"finished": 1}
    assert client.emit("ring", callback=True, namespace="/bell") == [1, "/bell"]
    assert names(client, "/board") == ["jobs", "jobs", "jobs"]
