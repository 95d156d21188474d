"""The pages of keywords and close codes name what there is, and nothing else.

It must not know what a keyword or a code means.
"""

import re
from pathlib import Path

import pytest

from python_server.api.handler_registry import REASONS
from python_server.api.keywords import SocketIOKeywords, names_of
from python_server.engineio.session import CLOSE_CODES, DisconnectReason
from python_server.socketio.client import NamespaceReason
from wsframe import CloseCode

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"


def first_cells(page: str) -> list[str]:
    return re.findall(r"^\| ([^|]*) \|", (FOLDER / page).read_text("utf-8"), re.MULTILINE)


def test_each_keyword_has_its_line() -> None:
    text = (FOLDER / "keywords.md").read_text("utf-8")
    in_tables = {name for cell in first_cells("keywords.md") for name in re.findall(r"`(\w+)`", cell)}
    without_effect = set(re.findall(r"`(\w+)`", text.partition("## Accepted without effect")[2]))
    assert in_tables | without_effect == names_of(SocketIOKeywords)
    assert not in_tables & without_effect


@pytest.mark.parametrize("reason", CLOSE_CODES)
def test_each_code_of_a_session_has_its_line(reason: str) -> None:
    text = (FOLDER / "close-codes.md").read_text("utf-8")
    assert f"| {CLOSE_CODES[reason]} | `{reason}` |" in text


def test_each_reason_that_a_handler_is_told_stands_there() -> None:
    text = (FOLDER / "close-codes.md").read_text("utf-8")
    told = {REASONS.get(reason, reason.value) for reason in (*DisconnectReason, *NamespaceReason)}
    assert told - {reason for reason in told if f"| `{reason}` |" in text} == set()
    assert len(told) > 8


def test_the_codes_exist() -> None:
    codes = {int(cell) for cell in first_cells("close-codes.md") if cell.isdigit()}
    assert len(codes) > 5
    assert codes <= set(CloseCode)
