"""docs/limits.md names every limit with its real default and an option that exists.

It must not know what the limits do: the other tests do.
"""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from python_server.command.options import OPTIONS
from python_server.settings import Settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "limits.md"
LINE = re.compile(
    r"\| (?P<what>[^|]+) \| `(?P<setting>[a-z_.]+)` \| (?P<default>[0-9.]+)[^|]* \| (?P<option>[^|]+) \|"
)
LINES = {match["setting"]: match for match in LINE.finditer(PAGE.read_text("utf-8"))}
NOT_LIMITS = {
    "port",
    "transport.receive_buffer_bytes",
    "switch_interval_seconds",
    "own_io_switch_interval_seconds",
}


def numbers(settings: Any, prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            found |= numbers(value, f"{prefix}{field.name}.")
        elif type(value) in (int, float) and field.name.endswith(("_bytes", "_count", "_seconds")):
            found[prefix + field.name] = value
    return found


NUMBERS = numbers(Settings())


@pytest.mark.parametrize("setting", sorted(NUMBERS.keys() - NOT_LIMITS))
def test_every_limit_stands_on_the_page_with_its_default(setting: str) -> None:
    assert setting in LINES, f"{PAGE.name} does not name {setting}"
    assert float(LINES[setting]["default"]) == NUMBERS[setting]


@pytest.mark.parametrize("setting", sorted(LINES))
def test_the_page_names_real_settings_and_options(setting: str) -> None:
    option = LINES[setting]["option"].strip(" `")
    by_setting = {entry.setting: entry.flags[0] for entry in OPTIONS if entry.setting}
    assert setting in NUMBERS
    assert option == by_setting.get(setting, "--set")
