"""One option: its names, what a file may say for it, the kinds of value.

It must not know any option of the table.
"""

from pathlib import Path
from typing import Any

import click
import pytest

from python_server.command.option import Checked, Option, Seconds, Whole, as_written, folder, octal


def test_the_names_of_an_option() -> None:
    option = Option("--ws-deflate/--no-ws-deflate", "Compress.")
    assert (option.flags, option.name, option.environment) == (
        ("--ws-deflate/--no-ws-deflate",),
        "ws_deflate",
        "WSFRAME_WS_DEFLATE",
    )
    assert Option("--port", "Port.", short="-p").flags == ("--port", "-p")


@pytest.mark.parametrize(
    ("option", "value", "written"),
    [
        (Option("--a", "A.", kind=bool), True, True),
        (Option("--a", "A.", kind=int), 3, "3"),
        (Option("--a", "A.", multiple=True), "x", ["x"]),
        (Option("--a", "A.", multiple=True), ["x", 1.5], ["x", "1.5"]),
        (Option("--a", "A.", metavar="LIST"), ["x", "y"], "x,y"),
    ],
)
def test_what_a_file_may_say(option: Option, value: object, written: object) -> None:
    assert as_written(option, value) == written


@pytest.mark.parametrize("value", [["x"], {"a": 1}, True, None])
def test_what_a_file_may_not_say(value: object) -> None:
    with pytest.raises(ValueError, match="is no value of this option"):
        as_written(Option("--a", "A.", kind=int), value)
    with pytest.raises(ValueError, match="is no value of this option"):
        as_written(Option("--a", "A.", kind=bool), [value])


def test_kinds_of_numbers() -> None:
    assert Seconds(0).convert("1.5", None, None) == 1.5
    assert Whole(1, 3).convert("3", None, None) == 3
    for kind, text in ((Seconds(0), "nan"), (Seconds(0), "-1"), (Whole(1), "0"), (Whole(1), "x")):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


def test_a_text_that_is_looked_at(tmp_path: Path) -> None:
    kind = Checked(folder)
    assert kind.convert(str(tmp_path), None, None) == str(tmp_path)
    with pytest.raises(click.BadParameter, match="there is no folder '/no/such'"):
        kind.convert("/no/such", None, None)
    assert kind.split_envvar_value("a b\nc") == ["a b", "c"]
    assert Checked(folder, None).split_envvar_value("a b\nc") == ["a", "b", "c"]


@pytest.mark.parametrize(("text", "value"), [("660", 0o660), (600, 0o600), ("0", 0)])
def test_permissions_are_octal(text: Any, value: int) -> None:
    assert octal(text) == value


@pytest.mark.parametrize("text", ["8", "1000", "-1", "rw"])
def test_what_no_permissions_are(text: str) -> None:
    with pytest.raises(ValueError, match="is no permissions: write them as chmod does, 660"):
        octal(text)
