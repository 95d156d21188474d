"""The parts of a worker, made and connected: what each setting reaches, seen from a client's end.

It must not know how any part works; the loop turns here, nothing sleeps.
"""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from python_server import Resource, Server, WebSocketApplication, WSGIApp
from python_server.observe import log
from python_server.serve.mounts import Site, find_site
from python_server.serve.wiring import (
    SOFTWARE,
)
from wired_worker import POLLING, UPGRADE, Wired, page, site_of, wire

__all__ = ["wire"]


def test_the_application_answers_below_its_root_and_each_answer_is_counted(
    wire: Callable[..., Wired], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.ACCESS, "handlers", [caplog.handler])
    monkeypatch.setattr(log.ACCESS, "propagate", False)
    wired = wire(root_path="shop/", access_log="-", access_log_format="%(m)s %(U)s %(s)s")
    with caplog.at_level(logging.INFO, log.ACCESS.name):
        status, head, body = wired.ask("/shop/cart")
        wired.until(lambda: bool(caplog.records))
    assert (status, body) == (200, b"/shop /cart 192.0.2.1")
    assert f"\r\nServer: {SOFTWARE}" in head
    assert wired.counters.counts["requests"] == 1
    assert [record.message for record in caplog.records] == ["GET /cart 200"]
    assert wired.services.stop is None  # no sibling has sessions


def test_a_trusted_proxy_tells_the_client(wire: Callable[..., Wired]) -> None:
    wired = wire(proxy_headers=True, forwarded_allow_ips="192.0.2.1")
    assert wired.ask("/", "X-Forwarded-For: 198.51.100.7\r\n")[2].endswith(b" 198.51.100.7")
    assert wire().ask("/", "X-Forwarded-For: 198.51.100.7\r\n")[2].endswith(b" 192.0.2.1")


def test_hosts_and_requests_of_an_address_are_bounded(wire: Callable[..., Wired]) -> None:
    assert wire(allowed_hosts="there").ask("/")[0] == 400
    capped = wire(address_minute_requests_max_count=1)
    assert [capped.ask("/")[0], capped.ask("/")[0]] == [200, 429]
    assert capped.ask("/", address="192.0.2.2")[0] == 200


def test_a_raw_websocket_opens_by_its_path(wire: Callable[..., Wired]) -> None:
    echo = WebSocketApplication()
    wired = wire(Site(page, websockets={"/echo": echo}))
    assert wired.ask("/echo", UPGRADE)[0] == 101
    assert wired.ask("/elsewhere", UPGRADE)[0] == 200  # the application's to answer
    assert len(wired.network.acceptor.channels) == 2


class Door:
    """Middleware that lets in who knows the word."""

    def __init__(self, application: Any) -> None:
        self.app = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_WORD") != "open":
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return self.app(environ, start_response)


def test_middleware_is_asked_before_a_session_opens(wire: Callable[..., Wired]) -> None:
    wired = wire(find_site(Door(WSGIApp(Server(), page))))
    assert wired.ask(POLLING)[0] == 403
    assert wired.ask(POLLING, "Word: open\r\n")[0] == 200


def test_middleware_is_asked_before_a_raw_websocket_opens(wire: Callable[..., Wired]) -> None:
    wired = wire(find_site(Door(Resource({"/echo": WebSocketApplication()}, page))))
    assert wired.ask("/echo", UPGRADE)[0] == 403
    assert wired.ask("/echo", UPGRADE + "Word: open\r\n")[0] == 101


def test_what_a_mount_itself_asks_comes_first(wire: Callable[..., Wired]) -> None:
    asked: list[str] = []
    site = site_of(Server())
    site.mounts[0].admit = lambda request: asked.append(request.path)
    site.mounts[0].holder = object()
    assert wire(site).ask(POLLING)[0] == 200
    assert asked == ["/socket.io/"]
