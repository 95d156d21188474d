"""The table of settings: frozen, each with its unit in its name, bounds that fit each other.

It must not know who reads a setting.
"""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

from python_server.settings import Settings

UNITS = ("_bytes", "_count", "_seconds")


def table(settings: Any, path: str = "") -> list[tuple[Any, str, str]]:
    """(owner, name, dotted name) of each setting."""
    rows: list[tuple[Any, str, str]] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        dotted = path + field.name
        rows += table(value, dotted + ".") if is_dataclass(value) else [(settings, field.name, dotted)]
    return rows


ROWS = table(Settings())


@pytest.mark.parametrize(("owner", "name"), [row[:2] for row in ROWS], ids=[row[2] for row in ROWS])
def test_a_setting_is_frozen_and_a_number_has_its_unit(owner: Any, name: str) -> None:
    value = getattr(owner, name)
    with pytest.raises(FrozenInstanceError):
        setattr(owner, name, value)
    if type(value) in (int, float) and name not in ("port", "uds_permissions"):
        assert name.endswith(UNITS)
        assert value >= 0
        assert (type(value) is float) == name.endswith("_seconds")


def test_bounds_fit_each_other() -> None:
    settings = Settings()
    http, transport = settings.http, settings.transport
    assert transport.low_watermark_bytes < transport.high_watermark_bytes < transport.hard_limit_bytes
    assert settings.websocket.max_message_bytes <= transport.high_watermark_bytes
    assert settings.mailbox_max_bytes <= transport.hard_limit_bytes / 2
    assert http.header_line_max_bytes < http.header_total_max_bytes
    assert http.body_window_bytes < http.body_max_bytes
    assert http.header_timeout_seconds < http.keep_alive_timeout_seconds
    assert settings.idle_grace_seconds < settings.graceful_timeout_seconds
