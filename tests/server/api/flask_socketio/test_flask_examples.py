"""The small examples on either package: only the import differs, the answers do not.

It must not know the examples' code beyond their events.
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
PACKAGES = ["python_server", "flask_socketio"]


@pytest.fixture(params=PACKAGES)
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """load("chat"): the example as a module, its import changed."""
    pytest.importorskip(request.param)

    def one(name: str) -> Any:
        path = EXAMPLES / name / "app.py"
        text = path.read_text("utf-8")
        assert text.count("from python_server import") == 1
        module = types.ModuleType(f"example_{name}_{request.param}")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        source = text.replace("from python_server import", f"from {request.param} import")
        exec(compile(source, str(path), "exec"), module.__dict__)
        return module

    return one


def names(client: Any, namespace: str | None = None) -> list[str]:
    return [item["name"] for item in client.get_received(namespace)]


def test_chat(load: Callable[[str], Any]) -> None:
    chat = load("chat")
    open_client = lambda name: chat.socketio.test_client(chat.app, auth={"name": name})  # noqa: E731
    ada, grace = open_client("Ada"), open_client("Grace")
    assert not open_client("Ada").is_connected()
    assert ada.emit("enter", "Kitchen", callback=True) == {"room": "Kitchen"}
    assert ada.emit("enter", "Cellar", callback=True) == {"error": "There is no such room."}
    grace.emit("enter", "Kitchen")
    assert names(ada) == ["who", "note", "who"]
    assert grace.emit("say", "hello", callback=True) == {"sent": True}
    assert ada.get_received()[0]["args"] == [{"name": "Grace", "text": "hello"}]
    assert ada.emit("whisper", "Grace", "psst", callback=True) == {"sent": True}
    assert names(grace)[-1] == "whispered"
    grace.disconnect()
    assert names(ada)[-2:] == ["note", "who"]


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
