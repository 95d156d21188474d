"""gunicorn's settings as ours: what is kept, what is named as having no effect, what is refused.

Must not know: workers, signals, or what a setting of ours does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import click
from gunicorn.config import Config
from gunicorn.sock import ssl_context

from python_server.command.cli import make_settings, serve_command
from python_server.command.options import with_setting
from python_server.settings import Settings

# Where gunicorn's 0 takes a limit away, ours goes so far.
UNLIMITED_BYTES: Final = 65_536
UNLIMITED_FIELDS_COUNT: Final = 32_768  # gunicorn's

# What a process needs for its end: gunicorn kills it when the graceful timeout is over.
END_SECONDS: Final = 1.0

KEPT: Final[dict[str, Callable[[Config], object]]] = {
    "graceful_timeout_seconds": lambda cfg: max(cfg.graceful_timeout - END_SECONDS, cfg.graceful_timeout / 2),
    "worker_timeout_seconds": lambda cfg: float(cfg.timeout),
    "max_requests_count": lambda cfg: cfg.max_requests,
    "max_requests_jitter_count": lambda cfg: cfg.max_requests_jitter,
    "http.request_line_max_bytes": lambda cfg: cfg.limit_request_line or UNLIMITED_BYTES,
    "http.header_line_max_bytes": lambda cfg: cfg.limit_request_field_size or UNLIMITED_BYTES,
    "http.header_max_count": lambda cfg: cfg.limit_request_fields or UNLIMITED_FIELDS_COUNT,
    "proxy_headers": lambda cfg: False,
    "forwarded_allow_ips": lambda cfg: ",".join(cfg.forwarded_allow_ips),
    "secure_scheme_values": lambda cfg: {
        name.lower(): value for name, value in cfg.secure_scheme_headers.items()
    },
    "root_path": lambda cfg: os.environ.get("SCRIPT_NAME", ""),
    "tls.context": lambda cfg: ssl_context(cfg) if cfg.is_ssl else None,
    "access_log": lambda cfg: None,  # see requests.GunicornAccessLog
    "debug": lambda cfg: False,
}
# Ours hold unless these were given: gunicorn's defaults are made for one request at a time. 0, which is no
# number of any of the first, is not given.
KEPT_IF_GIVEN: Final = {
    "threads": "wsgi_threads_count",
    "worker_connections": "connections_max_count",
    "websocket_max_message_size": "websocket.max_message_bytes",
    "keepalive": "http.keep_alive_timeout_seconds",
}
WORDS_WITHOUT_EFFECT: Final = """
    sendfile permit_obsolete_folding strip_header_spaces permit_unconventional_http_method
    permit_unconventional_http_version casefold_http_method forwarder_headers header_map http_protocols
    http2_cleartext http_parser suppress_ragged_eofs do_handshake_on_connect ssl_version tmp_upload_dir
    """
# With them every connection would begin with what is no HTTP.
REFUSED: Final = {
    "proxy_protocol": "the PROXY protocol is not spoken, let the proxy send X-Forwarded-Proto",
    "protocol": "only HTTP is spoken",
}


def options_of_environment() -> dict[str, Any]:
    """Our own options: here WSFRAME_* alone tell them.

    Raises:
        RuntimeError: one of them is not as it should be.
    """
    try:
        return dict(serve_command.make_context("gunicorn", []).params)
    except click.ClickException as error:
        raise RuntimeError(f"in the environment: {error.format_message()}") from None


def settings_of(cfg: Config) -> Settings:
    """What holds by gunicorn's configuration and by the environment.

    Raises:
        RuntimeError: a WSFRAME_* variable is not as it should be. OSError: of a certificate's file.
    """
    try:
        settings = make_settings(options_of_environment())
    except click.ClickException as error:
        raise RuntimeError(f"in the environment: {error.format_message()}") from None
    for path, value_of in KEPT.items():
        settings = with_setting(settings, path, value_of(cfg))
    for name in KEPT_IF_GIVEN.keys() & given(cfg):
        value = getattr(cfg, name)
        if value or name == "keepalive":
            settings = with_setting(settings, KEPT_IF_GIVEN[name], value)
    return settings


def given(cfg: Config) -> set[str]:
    """The names of what differs from gunicorn's defaults."""
    return {name for name, setting in cfg.settings.items() if not _is_default(setting)}


def _is_default(setting: Any) -> bool:
    default = setting.default
    value = setting.get()
    if value == default:
        return True
    checked = (
        setting.validator(default) if setting.validator is not None and not callable(default) else default
    )
    return bool(value == checked)


def check(cfg: Config, warn: Callable[[str], object]) -> Settings:
    """Name what has no effect; the settings.

    Raises:
        RuntimeError: what was given cannot be served so; gunicorn shows it, and ends.
    """
    names = given(cfg)
    for name in REFUSED.keys() & names:
        raise RuntimeError(f"python_server.GunicornWorker and {name}: {REFUSED[name]}")
    settings = settings_of(cfg)
    without = sorted(names.intersection(WORDS_WITHOUT_EFFECT.split()))
    if without:
        warn(
            f"python_server.GunicornWorker ignores {', '.join(without)}: these settings have no effect on it"
        )
    return settings
