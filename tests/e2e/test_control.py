"""`wsframe emit` and Emitter reach the clients of running servers through their control sockets.

It must not know what a line looks like.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ordered_clients import SimpleClient
from python_server import Emitter
from python_server.api.emitter import EmitError
from python_server.control.places import default_path

APPS = Path(__file__).resolve().parent / "apps"
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def server(request: Any, serve: Any, supervisor: str) -> Any:
    server = serve(APPS, "crew_app:app", "--workers", str(request.param), supervisor=supervisor)
    server.wait_serving(1 if request.param > 1 else 0)  # who is alone does not say it under our own
    return server


def wsframe_emit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "wsframe"), "emit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_events_from_the_command_line_reach_everybody_or_a_room(server: Any) -> None:
    port = server.url.rpartition(":")[2]
    clients = [SimpleClient() for _ in range(4)]
    try:
        for number, client in enumerate(clients):
            client.connect(server.url, transports=["websocket"])
            assert client.call("join", "even" if number % 2 == 0 else "odd") == "done"
        done = wsframe_emit("news", '{"title": "héllo"}', "2", "--port", port, "--room", "even")
        assert (done.returncode, done.stderr) == (0, "")
        done = wsframe_emit("end", "--control", default_path(int(port)))
        assert (done.returncode, done.stderr) == (0, "")
        for number, client in enumerate(clients):
            if number % 2 == 0:
                assert client.receive(WAIT_SECONDS) == ["news", {"title": "héllo"}, 2]
            assert client.receive(WAIT_SECONDS) == ["end"]
        with Emitter(f"unix:{default_path(int(port))}") as emitter:
            emitter.emit("raw", b"\0\xff", to=clients[1].sid)
            assert clients[1].receive(WAIT_SECONDS) == ["raw", b"\0\xff"]
            emitter.enter_room(clients[1].sid, "even")
            emitter.emit("both", to="even", skip_sid=clients[0].sid)
            assert clients[1].receive(WAIT_SECONDS) == ["both"]
            assert clients[2].receive(WAIT_SECONDS) == ["both"]
            with pytest.raises(EmitError, match="refused"):
                emitter.emit("x", namespace="no slash")
            emitter.emit("end")
            assert clients[0].receive(WAIT_SECONDS) == ["end"]
    finally:
        for client in clients:
            client.disconnect()


def test_what_is_wrong_on_the_command_line_is_said(server: Any, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    assert "is not JSON" in wsframe_emit("news", "hello", "--port", port).stderr
    nobody = wsframe_emit("news", "--control", str(tmp_path / "none.sock"))
    assert nobody.returncode == 1
    assert "no server answers" in nobody.stderr
    both = wsframe_emit("news", "--control", "x", "--url", "redis://localhost")
    assert "exclude each other" in both.stderr


def test_the_socket_goes_with_the_server(serve: Any) -> None:
    server = serve(APPS, "crew_app:app")
    path = Path(default_path(int(server.url.rpartition(":")[2])))
    assert path.exists()
    assert server.stop() == 0
    assert not path.exists()


def test_no_socket_where_none_is_wanted(serve: Any, tmp_path: Path) -> None:
    """In a folder of this test alone: a server of an earlier one that was killed may have left its own."""
    serve(APPS, "crew_app:app", "--control-socket", "none", env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert not any(tmp_path.rglob("*.sock"))
    serve(APPS, "crew_app:app", env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert any(tmp_path.rglob("*.sock"))


ENGINE_APP = """
from python_server import EngineServer, Server, WSGIApp
app = WSGIApp(EngineServer())
beside = WSGIApp(Server(), app)
"""


def test_engine_io_alone_or_beside_has_no_events(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "engine_app.py").write_text(ENGINE_APP)
    alone, beside = serve(tmp_path, "engine_app:app"), serve(tmp_path, "engine_app:beside")
    ports = [server.url.rpartition(":")[2] for server in (alone, beside)]
    refused = wsframe_emit("news", "1", "--port", ports[0])
    assert refused.returncode == 1
    assert "no Socket.IO server runs here" in refused.stderr
    client = SimpleClient()
    client.connect(beside.url, transports=["websocket"])
    done = wsframe_emit("news", "1", "--port", ports[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert client.receive(WAIT_SECONDS) == ["news", 1]
    client.disconnect()
    with (
        Emitter(f"unix:{default_path(int(ports[1]))}", path="/engine.io") as emitter,
        pytest.raises(EmitError, match=r"no Socket\.IO server at '/engine\.io': /socket\.io/"),
    ):
        emitter.emit("x")
