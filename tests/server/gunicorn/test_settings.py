"""gunicorn's settings as ours (settings.py): kept, named, refused.

It must not know workers; the configuration is gunicorn's own.
"""

from typing import Any

import pytest
from gunicorn.config import Config

from python_server.command.options import read_setting
from python_server.gunicorn.settings import check, given, options_of_environment, settings_of
from python_server.settings import Settings


def configuration(**words: Any) -> Config:
    cfg = Config()
    for name, value in words.items():
        cfg.set(name, value)
    return cfg


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("graceful_timeout", 7, "graceful_timeout_seconds", 6.0),
        ("graceful_timeout", 1, "graceful_timeout_seconds", 0.5),
        ("timeout", 9, "worker_timeout_seconds", 9.0),
        ("max_requests", 100, "max_requests_count", 100),
        ("max_requests_jitter", 10, "max_requests_jitter_count", 10),
        ("limit_request_line", 1000, "http.request_line_max_bytes", 1000),
        ("limit_request_line", 0, "http.request_line_max_bytes", 65_536),
        ("limit_request_fields", 20, "http.header_max_count", 20),
        ("limit_request_fields", 0, "http.header_max_count", 32_768),
        ("limit_request_field_size", 500, "http.header_line_max_bytes", 500),
        ("limit_request_field_size", 0, "http.header_line_max_bytes", 65_536),
        ("threads", 8, "wsgi_threads_count", 8),
        ("threads", 0, "wsgi_threads_count", Settings().wsgi_threads_count),
        ("worker_connections", 0, "connections_max_count", Settings().connections_max_count),
        ("worker_connections", 10, "connections_max_count", 10),
        ("keepalive", 3, "http.keep_alive_timeout_seconds", 3),
        ("keepalive", 0, "http.keep_alive_timeout_seconds", 0),
        ("forwarded_allow_ips", "192.0.2.1,192.0.2.2", "forwarded_allow_ips", "192.0.2.1,192.0.2.2"),
        ("secure_scheme_headers", {"X-S": "on"}, "secure_scheme_values", {"x-s": "on"}),
    ],
)
def test_a_setting_is_kept(name: str, value: object, path: str, expected: object) -> None:
    assert read_setting(settings_of(configuration(**{name: value})), path) == expected


@pytest.mark.parametrize(
    "path", ["wsgi_threads_count", "connections_max_count", "http.keep_alive_timeout_seconds"]
)
def test_ours_holds_where_gunicorns_was_not_given(path: str) -> None:
    assert read_setting(settings_of(configuration()), path) == read_setting(Settings(), path)


def test_what_was_given_differs_from_the_default() -> None:
    assert given(configuration()) == set()
    assert given(configuration(threads=2, proxy_protocol=True)) == {"threads", "proxy_protocol"}


def test_the_environment_tells_our_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSFRAME_EVENT_THREADS", "11")
    monkeypatch.setenv("WSFRAME_DROP_IN", "1")
    assert settings_of(configuration()).event_threads_count == 11
    assert options_of_environment()["drop_in"] is True
    monkeypatch.setenv("WSFRAME_THREADS", "12")
    assert settings_of(configuration()).wsgi_threads_count == 12
    assert settings_of(configuration(threads=3)).wsgi_threads_count == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("WSFRAME_EVENT_THREADS", "many"), ("WSFRAME_ALLOWED_HOSTS", "a b"), ("WSFRAME_CONFIG", "no")],
)
def test_an_option_that_is_not_as_it_should_be_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="in the environment: "):
        check(configuration(), lambda text: None)


def test_the_scripts_name_is_where_a_proxy_has_mounted_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/shop")
    assert settings_of(configuration()).root_path == "/shop"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, []),
        (
            {"sendfile": False, "casefold_http_method": True},
            ["casefold_http_method, sendfile: these settings have no effect"],
        ),
        ({"access_log_format": "%({x}o)s"}, []),
    ],
)
def test_what_has_no_effect_is_named_once(words: dict[str, Any], said: list[str]) -> None:
    warned: list[str] = []
    check(configuration(**words), warned.append)
    assert len(warned) == len(said)
    assert all(part in line for part, line in zip(said, warned, strict=True))


@pytest.mark.parametrize(("name", "value"), [("proxy_protocol", True), ("protocol", "uwsgi")])
def test_what_cannot_be_served_is_refused(name: str, value: object) -> None:
    with pytest.raises(RuntimeError, match=f"python_server.GunicornWorker and {name}: "):
        check(configuration(**{name: value}), lambda text: None)
