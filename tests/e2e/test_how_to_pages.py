"""The how-to pages: their programs run, their nginx passes them, their commands are well formed.

It must not hold code that the pages lack.
"""

import json
import os
import queue
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
import socketio

import python_server
from ordered_clients import OrderedClient, PatientClient, SimpleClient
from own_nginx import Nginx
from page_blocks import blocks_of, lines_of
from python_server import Server, SocketIO
from python_server.api.keywords import CallKeywords, EmitKeywords, SocketIOKeywords, names_of

APPS = Path(__file__).resolve().parent / "apps"
PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
WAIT_SECONDS = 60


def blocks(page: str, language: str) -> list[str]:
    return blocks_of(f"docs/how-to/{page}", language)


def written(page: str, folder: Path, language: str = "python") -> None:
    """Its programs as files, by the name in the first line of each."""
    for block in blocks(page, language):
        name = block.partition("\n")[0].removeprefix("# ").replace("project shop: ", "shop/")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(block)


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
    assert json.loads(command) == ["python", "-m", "python_server"]
    subprocess.run([sys.executable, *json.loads(command)[1:], *words, "--check-config"], cwd=APPS, check=True)
    graceful_seconds = int(words[words.index("--timeout-graceful") + 1])
    (whole_seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", manifest)
    assert int(whole_seconds) > graceful_seconds + 5


@pytest.mark.parametrize("page", ["how-to/containers.md", "operations.md"])
def test_the_probes_of_a_pod(serve: Any, page: str) -> None:
    manifest = "".join(blocks_of(f"docs/{page}", "yaml"))
    probes = dict(re.findall(r"(\w+)Probe:\n +httpGet: {path: (.*), port: 8000}", manifest))
    assert set(probes) == {"startup", "readiness", "liveness"}
    server = serve(APPS, "listening_app:app", "--health", "--allowed-hosts", "shop.example")
    for path in probes.values():
        answer = requests.get(server.url + path, timeout=WAIT_SECONDS)
        assert (answer.status_code, answer.text) == (200, "ok\n")
    assert requests.get(server.url, timeout=WAIT_SECONDS).status_code == 400  # another host


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


def ends(url: str, told: dict[str, Any]) -> tuple[OrderedClient, queue.Queue[Any]]:
    """A client, and the reasons for which it was sent away."""
    client, reasons = OrderedClient(), queue.Queue[Any]()
    client.on("closing", lambda said: reasons.put(said))
    client.connect(url, transports=["websocket"], **told)
    return client, reasons


def test_a_token_that_ends_and_is_refreshed(serve: Any, tmp_path: Path) -> None:
    block, _ = blocks("credentials-that-end.md", "python")
    (tmp_path / "shop.py").write_text(block)
    scope: dict[str, Any] = {"__name__": "shop"}
    exec(compile(block, "credentials-that-end.md", "exec"), scope)
    newest, before = scope["KEYS"].items()

    def made(key: tuple[str, str], name: str, seconds: float) -> str:
        claims = {"sub": name, "exp": time.time() + seconds}
        return jwt.encode(claims, key[1], "HS256", headers={"kid": key[0]})

    server = serve(tmp_path, "shop:app", "--workers", "2")
    token = requests.post(f"{server.url}/token/ann", timeout=WAIT_SECONDS).text
    client, reasons = ends(server.url, {"auth": {"token": token}})
    forged = made((before[0], "somebody else's key, also of 32 bytes"), "ann", 60)
    bad = [made(newest, "bob", 60), made(newest, "ann", -60), forged, "no token", None, 7]
    for token in bad:
        assert client.call("refresh", (token,), timeout=WAIT_SECONDS) == "the token is not valid"
    while client.call("refresh", made(before, "ann", 2), timeout=WAIT_SECONDS) is not None:
        pass  # it was late
    assert reasons.get(timeout=WAIT_SECONDS)["reason"] == "auth expired"
    client.close()
    for token in (*bad[1:], {}):
        stranger = PatientClient()
        with pytest.raises(socketio.exceptions.ConnectionError):
            stranger.connect(server.url, auth={"token": token})
        stranger.close()


def test_a_login_that_ends(serve: Any, tmp_path: Path) -> None:
    _, block = blocks("credentials-that-end.md", "python")
    (tmp_path / "shop.py").write_text(block)
    browser = requests.Session()

    def tab(url: str) -> tuple[OrderedClient, queue.Queue[Any]]:
        assert browser.post(f"{url}/login/ann", timeout=WAIT_SECONDS).text == "welcome"
        cookie = f"session={browser.cookies['session']}"
        return ends(url, {"headers": {"Cookie": cookie}})

    server = serve(tmp_path, "shop:app", "--workers", "2")
    with pytest.raises(socketio.exceptions.ConnectionError):
        ends(server.url, {})
    tabs = [tab(server.url) for _ in range(3)]
    assert browser.post(f"{server.url}/stay", timeout=WAIT_SECONDS).text == "welcome back"
    assert browser.post(f"{server.url}/logout", timeout=WAIT_SECONDS).text == "goodbye"
    for client, reasons in tabs:
        assert reasons.get(timeout=WAIT_SECONDS)["detail"] == "logged out"
        client.close()
    assert browser.post(f"{server.url}/stay", timeout=WAIT_SECONDS).status_code == 401
    hasty = serve(tmp_path, "shop:app", env={"LOGIN_SECONDS": "5"})
    browser.cookies.clear()
    while True:
        try:
            client, reasons = tab(hasty.url)
            break
        except socketio.exceptions.ConnectionError:
            continue  # it was late
    assert reasons.get(timeout=WAIT_SECONDS)["reason"] == "auth expired"
    client.close()


def test_who_is_there(serve: Any, tmp_path: Path) -> None:
    (block,) = blocks("who-is-there.md", "python")
    (tmp_path / "lobby.py").write_text(block)
    server = serve(tmp_path, "lobby:app", "--workers", "2")
    told: queue.Queue[Any] = queue.Queue()

    def tab(name: str) -> tuple[OrderedClient, queue.Queue[Any]]:
        client, here = OrderedClient(), queue.Queue[Any]()
        client.on("here", here.put)
        client.connect(server.url, auth={"name": name}, transports=["websocket"])
        return client, here

    watcher = OrderedClient()
    for word in ("came", "went"):
        watcher.on(word, lambda meta, word=word: told.put((word, meta)))
    watcher.connect(server.url, auth={"name": "watcher"}, transports=["websocket"])
    quiet = {"name": "ann", "typing": False}
    tabs = [tab("ann") for _ in range(6)]
    for _, here in tabs:
        assert here.get(timeout=WAIT_SECONDS)["ann"] == quiet
    assert told.get(timeout=WAIT_SECONDS) == ("came", {"name": "watcher", "typing": False})
    assert told.get(timeout=WAIT_SECONDS) == ("came", quiet)
    tabs[0][0].emit("typing", ("ann", True))
    assert told.get(timeout=WAIT_SECONDS) == ("came", {"name": "ann", "typing": True})
    bob, here = tab("bob")
    assert set(here.get(timeout=WAIT_SECONDS)) == {"watcher", "ann", "bob"}
    assert told.get(timeout=WAIT_SECONDS) == ("came", {"name": "bob", "typing": False})
    for client, _ in [*tabs[1:], tabs[0]]:
        client.close()
    word, meta = told.get(timeout=WAIT_SECONDS)
    while word == "came":  # of the tabs that are left, another one is the last that said something
        word, meta = told.get(timeout=WAIT_SECONDS)
    assert (word, meta["name"]) == ("went", "ann")
    bob.close()
    assert told.get(timeout=WAIT_SECONDS) == ("went", {"name": "bob", "typing": False})
    watcher.close()


# What the page says that the reader has: a project, with a user who has logged in.
DJANGO_SETTINGS = """
SECRET_KEY = "a key for tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
USE_TZ = True
"""
DJANGO_URLS = """
from django.urls import path
from shop import views
urlpatterns = [path("order", views.order)]
"""
DJANGO_LOGIN = """
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
client = Client()
client.force_login(User.objects.create_user("ann"))
print(client.cookies["sessionid"].value)
"""


def test_django(serve: Any, tmp_path: Path) -> None:
    written("django.md", tmp_path)
    (tmp_path / "shop" / "settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "shop" / "urls.py").write_text(DJANGO_URLS)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"}
    command = [sys.executable, "-c", DJANGO_LOGIN]
    made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    cookies = {"sessionid": made.stdout.strip()}
    server = serve(tmp_path, "shop.wsgi:app")
    client = SimpleClient()
    client.connect(server.url, headers={"Cookie": f"sessionid={cookies['sessionid']}"})
    assert client.call("who am I") == "ann"
    assert requests.get(f"{server.url}/order", cookies=cookies, timeout=WAIT_SECONDS).text == "thank you"
    assert client.receive(WAIT_SECONDS) == ["order received", 7]
    client.disconnect()
    stranger, told = PatientClient(), []
    stranger.on("connect_error", told.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        stranger.connect(server.url)
    assert [error["message"] for error in told] == ["log in first"]


def test_a_task_speaks_through_the_broker(serve: Any, redis_server: Any) -> None:
    (block,) = blocks("task-queues.md", "python")
    program = block.replace("redis://broker:6379/0", redis_server.url).replace(
        "redis://broker:6379/1", "memory://"
    )
    scope: dict[str, Any] = {"__name__": "tasks"}
    exec(compile(program, "task-queues.md", "exec"), scope)
    scope["celery"].conf.task_always_eager = True
    server = serve(APPS, "machine_app:app", env={"BROKER": redis_server.url})
    server.wait_for("joined the broker")
    client = SimpleClient()
    client.connect(server.url)
    client.call("join", "user ann")
    scope["make_report"].delay("ann")
    assert client.receive(WAIT_SECONDS) == ["report ready", {"title": "the report"}]
    client.disconnect()
    scope["emitter"].close()


def test_cron_speaks_through_the_control_socket(serve: Any, tmp_path: Path) -> None:
    page = (
        (PAGES / "task-queues.md")
        .read_text("utf-8")
        .replace("/run/shop/control.sock", str(tmp_path / "control"))
    )
    (options,) = re.findall(r"^    wsframe serve shop:app (.*)$", page, re.MULTILINE)
    (words,) = re.findall(r"^    0 .* wsframe (emit .*)$", page, re.MULTILINE)
    server = serve(APPS, "flask_app:app", *options.split())
    client = SimpleClient()
    client.connect(server.url)
    subprocess.run([Path(sys.executable).with_name("wsframe"), *shlex.split(words)], check=True)
    assert client.receive(WAIT_SECONDS)[0] == "full hour"
    client.disconnect()


def test_from_node() -> None:
    (block,) = blocks("from-node.md", "python")
    scope: dict[str, Any] = {"__name__": "chat"}
    exec(compile(block, "from-node.md", "exec"), scope)
    app, socketio_ = scope["app"], scope["socketio"]
    assert not socketio_.test_client(app).is_connected()
    first, second = (socketio_.test_client(app, auth={"name": name}) for name in ("ann", "bob"))
    assert first.emit("say", "hello", callback=True) == "sent"
    assert [item["args"] for item in second.get_received()] == [["ann", "hello"]]
    assert first.get_received() == []


def test_the_words_of_the_table_exist() -> None:
    table = "".join(re.findall(r"^\|.*$", (PAGES / "from-node.md").read_text("utf-8"), re.MULTILINE))
    called = set(re.findall(r"`(?:socketio\.)?(?:server\.)?(\w+)\(", table)) - {"require"}
    known = {*dir(python_server), *dir(SocketIO), *dir(Server)}
    ours = {name for name in called if name in known}
    assert {"emit", "join_room", "leave_room", "rooms", "room_members", "call", "call_room"} <= ours
    keywords = set(re.findall(r"`(\w+)[`=]", table))
    options = names_of(SocketIOKeywords) | names_of(EmitKeywords) | names_of(CallKeywords)
    assert {word for word in keywords if "_" in word} <= options | known


def test_consumers_become_handlers(serve: Any, tmp_path: Path) -> None:
    written("from-django-channels.md", tmp_path)
    (tmp_path / "shop" / "settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "shop" / "urls.py").write_text("urlpatterns = []\n")
    server = serve(tmp_path, "shop.wsgi:app")
    ann, bob, eve = (SimpleClient() for _ in range(3))
    for client, room in ((ann, "lobby"), (bob, "lobby"), (eve, "cellar")):
        client.connect(server.url, namespace="/chat", auth={"room": room})
    eve.emit("message", "nobody hears me")
    ann.emit("message", "hello")
    assert bob.receive(WAIT_SECONDS) == ["message", "hello"]
    assert eve.receive(WAIT_SECONDS) == ["message", "nobody hears me"]
    for client in (ann, bob, eve):
        client.disconnect()


@pytest.mark.parametrize("number", [0, 1], ids=["as it stands", "without greenlets"])
def test_a_program_for_greenlets_and_what_becomes_of_it(serve: Any, tmp_path: Path, number: int) -> None:
    written("from-eventlet-gevent.md", tmp_path)
    start = lines_of("docs/how-to/from-eventlet-gevent.md")[number]
    server = serve(tmp_path, *start.removeprefix("wsframe serve ").split())
    client = SimpleClient()
    client.connect(server.url)
    assert client.call("order", ("ann", "tea")) == "tea 1 for ann"
    assert client.call("order", ("ann", "tea")) == "tea 2 for ann"
    assert [client.receive(WAIT_SECONDS) for _ in range(2)] == [["delivered", "tea"]] * 2
    client.disconnect()


@pytest.mark.parametrize("in_step", [False, True], ids=["never waits", "in step"])
def test_tokens_of_a_model(serve: Any, tmp_path: Path, in_step: bool) -> None:
    program, waits = blocks("tokens-of-a-language-model.md", "python")
    (tmp_path / "answers.py").write_text(program + (waits if in_step else ""))
    server = serve(tmp_path, "answers:app")
    ann, bob = SimpleClient(), SimpleClient()
    for client in (ann, bob):
        client.connect(server.url)
    words = [f"{number} " for number in range(45)]
    ann.emit("ask", "".join(words))
    assert [ann.receive(WAIT_SECONDS) for _ in range(46)] == [*(["token", word] for word in words), ["done"]]
    bob.emit("join lesson")
    bob.emit("ask for all" if not in_step else "ask", "a b")
    assert [bob.receive(WAIT_SECONDS) for _ in range(3)] == [["token", "a "], ["token", "b "], ["done"]]
    for count, (word, leave) in enumerate(
        {"one ": lambda: ann.emit("stop"), "two ": ann.disconnect}.items(), 3
    ):
        ann.emit("ask", word * 100_000)
        while ann.receive(WAIT_SECONDS) != ["token", word]:
            pass  # of the answer before, on its way when it was stopped
        leave()
        server.wait_for("the request to the model has ended", count)
    bob.disconnect()
