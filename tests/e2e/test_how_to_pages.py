"""The how-to pages: their programs run, their nginx passes them, their commands are well formed.

It must not hold code that the pages lack.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from ordered_clients import SimpleClient
from own_nginx import Nginx

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
WAIT_SECONDS = 60


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_below_a_path(serve: Any, tmp_path: Path, transport: str) -> None:
    page = (PAGES / "below-a-path.md").read_text("utf-8")
    (program,) = blocks("below-a-path.md", "python")
    (configuration,) = blocks("below-a-path.md", "nginx")
    (words,) = re.findall(r"^    wsframe serve (.*)$", page, re.MULTILINE)
    (path,) = re.findall(r'io\({path: "/(.*)/"}\)', page)
    for folder in ("application", "nginx"):
        (tmp_path / folder).mkdir()
    (tmp_path / "application" / "shop.py").write_text(program)
    server = serve(tmp_path / "application", *words.split())
    address = server.url.removeprefix("http://")

    def in_place(port: int) -> str:
        placed: str = configuration.replace("listen 80;", f"listen 127.0.0.1:{port};")
        return placed.replace("127.0.0.1:8000", address)

    proxy = Nginx(tmp_path / "nginx", in_place)
    try:
        url = f"http://127.0.0.1:{proxy.port}"
        assert requests.get(f"{url}/shop/", timeout=WAIT_SECONDS).text == "/shop/"
        client = SimpleClient()
        headers = {"Origin": url} if transport == "polling" else {}  # the library's WebSocket writes its own
        client.connect(url, socketio_path=path, transports=[transport], headers=headers)
        assert client.call("ask", 21) == 42
        client.disconnect()
    finally:
        proxy.stop()


def test_the_arguments_of_a_pod() -> None:
    (manifest,) = blocks("containers.md", "yaml")
    (command,), (arguments,) = (
        re.findall(rf"^ +{word}: (.*)$", manifest, re.MULTILINE) for word in ("command", "args")
    )
    words = ["listening_app:app" if word == "shop:app" else word for word in json.loads(arguments)]
    apps = Path(__file__).resolve().parent / "apps"
    assert json.loads(command) == ["python", "-m", "python_server"]
    subprocess.run([sys.executable, *json.loads(command)[1:], *words, "--check-config"], cwd=apps, check=True)
    graceful_seconds = int(words[words.index("--timeout-graceful") + 1])
    (whole_seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", manifest)
    assert int(whole_seconds) > graceful_seconds + 5


@pytest.fixture(scope="module")
def login() -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "shop"}
    for number, block in enumerate(blocks("login.md", "python"), 1):
        exec(compile(block, f"login.md, block {number}", "exec"), scope)
    return scope


def test_who_has_logged_in_may_connect(login: dict[str, Any]) -> None:
    app, socketio = login["app"], login["socketio"]
    assert not socketio.test_client(app).is_connected()
    browser = app.test_client()
    browser.post("/login/ann")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.emit("who am I", callback=True) == "ann"
    socketio.emit("news", 1, to="user ann")
    assert [item["name"] for item in client.get_received()] == ["news"]


def test_who_has_a_token_may_connect(login: dict[str, Any]) -> None:
    app, socketio = login["app"], login["socketio"]
    browser = app.test_client()
    assert browser.get("/token").status_code == 401
    browser.post("/login/bob")
    token = browser.get("/token").text
    client = socketio.test_client(app, namespace="/api", auth={"token": token})
    socketio.emit("news", 1, to="user bob", namespace="/api")
    assert [item["name"] for item in client.get_received("/api")] == ["news"]
    for auth in ({"token": token + "x"}, {}, None):
        assert not socketio.test_client(app, namespace="/api", auth=auth).is_connected("/api")
