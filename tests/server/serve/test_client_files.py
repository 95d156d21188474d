"""The Socket.IO client for browsers as an answer: names, methods, conditions, origins; builds without it.

It must not know a process or a socket: requests are parsed, routed and answered here.
"""

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from email.parser import BytesHeaderParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from outside_tools import missing_tool
from python_server import EngineServer, Server, SocketIO, WSGIApp
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.http1.parser import Request, RequestParser
from python_server.serve import client_files
from python_server.serve.client_release import CDN_TAG, NAMES, SCRIPT_INTEGRITY, TARBALL_INTEGRITY, VERSION
from python_server.serve.mounts import Mount, find_site
from python_server.serve.routing import Router
from python_server.settings import HTTPSettings

ROOT = Path(__file__).resolve().parents[3]
TEXTS = {name: f"// {name}\n".encode() * 2000 for name in NAMES}
ENGINE, REST = "an engine", "the application"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
SHOP = "https://shop.example"
PAGE = f"Origin: {SHOP}\r\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are looked for; they are there."""
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text))
    monkeypatch.setattr(client_files, "FOLDER", tmp_path)
    for kept in (client_files.packed, client_files.unpacked):
        kept.cache_clear()
    yield tmp_path
    for kept in (client_files.packed, client_files.unpacked):
        kept.cache_clear()


class Site:
    """The routing of an application, and the one answer to a request."""

    def __init__(self, *mounts: Mount, hosts: str = "", root_path: str = "") -> None:
        self.complaints: list[str] = []
        self._router = Router(
            scheme="http",
            proxies=None,
            hosts=AllowedHosts(hosts),
            complain=lambda kind, sentence: self.complaints.append(sentence),
            root_path=root_path,
            engines=[(mount.path, ENGINE) for mount in mounts],  # type: ignore[misc]
            routes=SimpleNamespace(serves=lambda path: False),  # type: ignore[arg-type]
            otherwise=REST,  # type: ignore[arg-type]
            client_files=client_files.client_files(mounts, lambda kind, text: self.complaints.append(text)),
        )

    def ask(self, target: str, fields: str = "", method: str = "GET") -> Any:
        """Who else answers; or the status, the fields and the body."""
        head = f"{method} {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode()
        parsed = RequestParser(HTTPSettings()).receive(head)
        request = next(event for event in parsed if isinstance(event, Request))
        handler: Any = self._router.route(request)
        if isinstance(handler, str):
            return handler
        sent: list[bytes] = []
        kept: list[bool] = []
        services = ExchangeServices(lambda: 0.0, lambda: "today", "us", lambda exchange, seconds: None)
        transport: Any = SimpleNamespace(write=lambda piece: sent.append(bytes(piece)), pauses=0)
        handler.request_received(Exchange(request, services, transport, kept.append, lambda make: None))
        head, _, body = b"".join(sent).partition(b"\r\n\r\n")
        status, _, lines = head.partition(b"\r\n")
        assert len(kept) == 1
        return int(status.split()[1]), BytesHeaderParser().parsebytes(lines), body


def mount(path: str = "/socket.io/", **options: Any) -> Mount:
    return Server(**options).mount(path)


@pytest.mark.parametrize("name", NAMES)
def test_each_file_has_its_type_and_the_release_as_its_tag(folder: Path, name: str) -> None:
    status, fields, body = Site(mount()).ask(f"/socket.io/{name}?v=1")
    kind = "json" if name.endswith(".map") else "javascript"
    assert (status, body) == (200, TEXTS[name])
    assert fields["Content-Type"] == f"application/{kind}; charset=utf-8"
    assert fields["Cache-Control"] == "public, max-age=0"
    assert fields["ETag"] == f'"{VERSION}"'
    assert fields["Content-Length"] == str(len(body))
    assert fields["Vary"] == "Accept-Encoding, Origin"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "gzip"),
        ("*", "gzip"),
        ("", None),
        ("deflate", None),
        ("identity", None),
        ("gzip;q=0", None),
    ],
)
def test_who_takes_gzip_gets_it(folder: Path, accepted: str, coding: str | None) -> None:
    _, fields, body = Site(mount()).ask("/socket.io/socket.io.js", f"Accept-Encoding: {accepted}\r\n")
    assert fields["Content-Encoding"] == coding
    assert (gzip.decompress(body) if coding else body) == TEXTS["socket.io.js"]
    assert fields["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        (f'"{VERSION}"', 304),
        (f'W/"{VERSION}"', 304),
        (f'"1.0.0", W/"{VERSION}"', 304),
        ("*", 304),
        ('"1.0.0"', 200),
        (VERSION, 200),
        (f'w/"{VERSION}"', 200),
        ("", 200),
        (f'"{VERSION}', 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_release_gets_no_body(folder: Path, tags: str, status: int, method: str) -> None:
    condition = f"If-None-Match: {tags}\r\n{PAGE}"
    site = Site(mount(cors_allowed_origins=[SHOP]))
    found, fields, body = site.ask("/socket.io/socket.io.min.js", condition, method)
    assert found == status
    assert bool(body) == (status == 200 and method == "GET")
    # A cache writes down those of a 304 (RFC 9110 15.4.5).
    assert fields["ETag"] == f'"{VERSION}"'
    assert fields["Cache-Control"] == "public, max-age=0"
    assert fields["Access-Control-Allow-Origin"] == SHOP


def test_a_head_is_the_get_without_its_body(folder: Path) -> None:
    site = Site(mount())
    (status, fields, body), (_, of_get, _) = (
        site.ask("/socket.io/socket.io.js", method=method) for method in ("HEAD", "GET")
    )
    assert (status, body) == (200, b"")
    assert fields.items() == of_get.items()


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("POST", "/socket.io/socket.io.js", ""),
        ("PUT", "/socket.io/socket.io.js", ""),
        ("DELETE", "/socket.io/socket.io.js", ""),
        ("OPTIONS", "/socket.io/socket.io.js", PAGE),
        ("GET", "/socket.io/socket.io.js?EIO=4&transport=websocket", UPGRADE),
        ("GET", "/socket.io/", ""),
        ("GET", "/socket.io", ""),
        ("GET", "/socket.io/?f=socket.io.js", ""),
        ("GET", "/socket.io/socket.io.js/", ""),
        ("GET", "/socket.io//socket.io.js", ""),
        ("GET", "/socket.io/./socket.io.js", ""),
        ("GET", "/socket.io/../socket.io/socket.io.js", ""),
        ("GET", "/socket.io/socket.io.js.gz", ""),
        ("GET", "/socket.io/socket.io.js%00", ""),
        ("GET", "/socket.io/SOCKET.IO.JS", ""),
        ("GET", "/socket.io/LICENSE", ""),
        ("GET", "/socket.io/../../../etc/passwd", ""),
        ("GET", "/socket.io/%2e%2e/%2e%2e/settings.py", ""),
        ("GET", "/socket.io/..%2f..%2fpy.typed", ""),
        ("GET", "/socket.io/%2fetc%2fpasswd", ""),
        ("GET", "/socket.io/socket.io.js%2f..%2f..%2fpy.typed", ""),
        ("GET", "/socket.io/..\\..\\py.typed", ""),
    ],
)
def test_everything_else_below_the_path_is_the_engines(
    folder: Path, method: str, target: str, fields: str
) -> None:
    assert Site(mount()).ask(target, fields, method) == ENGINE


def test_a_query_opens_no_session(folder: Path) -> None:
    """Nor is it looked at: as the official server, which never asks its engine."""
    site = Site(mount(allow_request=lambda environ: pytest.fail("nobody is asked")))
    for query in ("EIO=4&transport=polling", "sid=1.abc", "transport=polling&sid=x&sid=y", "&" * 500):
        assert site.ask(f"/socket.io/socket.io.js?{query}")[0] == 200


@pytest.mark.parametrize("target", ["/socket.io.js", "/socket.iox/socket.io.js", "/static/socket.io.js"])
def test_outside_the_path_nothing_changes(folder: Path, target: str) -> None:
    assert Site(mount()).ask(target) == REST


def test_it_stands_below_each_path_and_a_root_path(folder: Path) -> None:
    site = Site(mount("/chat/live/"), mount("/b/"), root_path="/shop")
    for target in ("/shop/chat/live/socket.io.js", "/b/socket.io.js"):
        assert site.ask(target)[0] == 200
    assert site.ask("/socket.io/socket.io.js") == REST


def test_another_host_gets_none(folder: Path) -> None:
    assert Site(mount(), hosts="shop.example").ask("/socket.io/socket.io.js")[0] == 400
    assert Site(mount(), hosts="here").ask("/socket.io/socket.io.js")[0] == 200


@pytest.mark.parametrize(
    ("options", "origin", "allowed", "credentials"),
    [
        ({}, "http://here", "http://here", "true"),
        ({}, SHOP, None, None),
        (
            {"cors_allowed_origins": SHOP},
            SHOP,
            SHOP,
            "true",
        ),
        ({"cors_allowed_origins": "*"}, SHOP, SHOP, None),
        ({"cors_allowed_origins": []}, SHOP, None, None),
    ],
)
def test_pages_of_other_origins_are_told_what_the_engine_tells_them(
    folder: Path, options: Any, origin: str, allowed: str | None, credentials: str | None
) -> None:
    """A file is no secret, so that it is sent anyway: a browser gives it to no page that may not have it."""
    status, fields, _ = Site(mount(**options)).ask("/socket.io/socket.io.js", f"Origin: {origin}\r\n")
    assert (status, fields["Access-Control-Allow-Origin"]) == (200, allowed)
    assert fields["Access-Control-Allow-Credentials"] == credentials


def test_a_build_without_it_names_the_tag_and_says_so(folder: Path) -> None:
    (folder / "socket.io.js.gz").unlink()
    site = Site(mount(cors_allowed_origins="*"))
    status, fields, body = site.ask("/socket.io/socket.io.js", PAGE)
    assert (status, fields["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert body.decode() == f"{client_files.MISSING}\n"
    assert CDN_TAG in client_files.MISSING
    assert fields["ETag"] is fields["Cache-Control"] is None
    assert fields["Access-Control-Allow-Origin"] == SHOP
    assert site.complaints == [client_files.MISSING]
    assert site.ask("/socket.io/socket.io.js", f'If-None-Match: "{VERSION}"\r\n')[0] == 404
    assert site.ask("/socket.io/socket.io.min.js")[0] == 200


def test_a_file_is_read_once_for_all(folder: Path) -> None:
    """At the start: answers come when the disk has none any more, and all mounts share the bytes."""
    site = Site(mount(), mount("/b/"))
    (folder / "socket.io.js.gz").unlink()
    for path in ("/socket.io/", "/b/"):
        for fields in ("", "Accept-Encoding: gzip\r\n"):
            assert site.ask(f"{path}socket.io.js", fields)[0] == 200
    assert client_files.packed.cache_info().misses == len(NAMES)
    assert client_files.unpacked.cache_info().misses == 1


@pytest.mark.parametrize("serve_client", [True, False, None])
def test_the_servers_of_socketio_have_it_unless_told_otherwise(serve_client: bool | None) -> None:
    import flask

    options: Any = {} if serve_client is None else {"serve_client": serve_client}
    app = flask.Flask(__name__)
    SocketIO(app, **options)
    for served in (app, WSGIApp(Server(**options))):
        (found,) = find_site(served).mounts  # type: ignore[arg-type]
        assert found.serve_client is (serve_client is not False)


def test_an_engine_alone_has_none(folder: Path) -> None:
    found = EngineServer().mount("/engine.io/")
    assert Site(found).ask("/engine.io/socket.io.js") == ENGINE
    assert Site(replace(mount(), serve_client=False)).ask("/socket.io/socket.io.js") == ENGINE


def test_the_release_is_the_one_that_the_tests_drive() -> None:
    """Of npm's packages the lock file has the release and its integrity; they are ours."""
    lock = json.loads((ROOT / "tests" / "e2e" / "package-lock.json").read_text("utf-8"))
    package = lock["packages"]["node_modules/socket.io-client"]
    assert (package["version"], package["integrity"]) == (VERSION, TARBALL_INTEGRITY)


def test_the_installed_files_are_the_packages() -> None:
    if not client_files.packed(NAMES[0]):
        missing_tool("this build has no Socket.IO client; run: make client")
    script = client_files.unpacked("socket.io.min.js")
    assert f"sha384-{b64encode(hashlib.sha384(script).digest()).decode()}" == SCRIPT_INTEGRITY
    for name in NAMES:
        text = client_files.unpacked(name).decode()
        if name.endswith(".map"):
            assert json.loads(text)["version"] == 3
        else:
            assert f"Socket.IO v{VERSION}" in text[:200]
            assert text.rstrip().endswith(f"sourceMappingURL={name}.map")
    assert "MIT" in client_files.FOLDER.joinpath("LICENSE").read_text()
