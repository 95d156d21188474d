"""A file for logging.config: read once, in both languages, refused in one line (observe/log_config.py).

It must not know what is logged.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from python_server.observe import log, log_config
from python_server.observe.log import LogError
from python_server.observe.log_config import use_log_config

TABLE = {
    "handlers": {"kept": {"class": "logging.StreamHandler", "level": "ERROR"}},
    "loggers": {"python_server": {"level": "WARNING", "handlers": ["kept"]}},
}
TOML = """
[handlers.kept]
class = "logging.StreamHandler"
level = "ERROR"
[loggers.python_server]
level = "WARNING"
handlers = ["kept"]
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log_config, "_used", set())
    monkeypatch.setattr(log.LOGGER, "handlers", [])
    level = log.LOGGER.level
    yield
    log.LOGGER.setLevel(level)


@pytest.mark.parametrize(("name", "text"), [("log.toml", TOML), ("log.json", json.dumps(TABLE))])
def test_both_languages(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    use_log_config(str(path))
    assert log.LOGGER.level == logging.WARNING
    assert [handler.level for handler in log.LOGGER.handlers] == [logging.ERROR]
    assert not log.ACCESS.disabled  # loggers that it does not name go on


def test_once_so_what_an_application_changes_later_stays(tmp_path: Path) -> None:
    path = tmp_path / "log.toml"
    path.write_text(TOML)
    use_log_config(str(path))
    log.LOGGER.setLevel("ERROR")
    use_log_config(str(path))
    assert log.LOGGER.level == logging.ERROR


def test_none_is_none() -> None:
    use_log_config(None)
    assert log.LOGGER.handlers == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[handlers", "Expected"),
        ("a.json", "{", "Expecting"),
        ("a.json", "[1]", "it holds no table"),
        ("a.toml", "version = 2", "Unsupported version: 2"),
        ("a.toml", '[handlers.h]\nclass = "no.such.Class"', "Unable to configure handler 'h': "),
        ("a.toml", '[handlers.h]\nclass = "logging.FileHandler"\nfilename = "/nowhere/x"', "No such file"),
        ("a.toml", '[loggers.python_server]\nlevel = "LOUD"', "Unknown level: 'LOUD'"),
        ("a.toml", '[loggers.python_server]\nhandlers = ["none"]', "'none'"),
        ("a.toml", "handlers = 1", ""),
        ("a.toml", b"\xff", "utf-8"),
        ("a.toml", None, "No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, name: str, text: str | bytes | None, said: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(LogError) as refused:
        use_log_config(str(path))
    line = str(refused.value)
    assert line.startswith(f"--log-config {path}: ")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(("keep", "level"), [(True, logging.ERROR), (False, logging.DEBUG)])
def test_a_level_that_the_file_has_said_stays(
    keep: bool, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.ACCESS, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(log.LOGGER, "handlers", [logging.NullHandler()])
    access_level = log.ACCESS.level
    log.LOGGER.setLevel("ERROR")
    log.ACCESS.setLevel("CRITICAL")
    log.configure_logging(
        "debug", "-", keep_levels=keep, writer=lambda *place, **more: pytest.fail("a writer")
    )
    assert log.LOGGER.level == level
    assert log.ACCESS.level == (logging.CRITICAL if keep else logging.INFO)
    log.configure_logging(
        "debug", None, keep_levels=keep, writer=lambda *place, **more: pytest.fail("a writer")
    )
    assert log.ACCESS.level == logging.CRITICAL
    log.ACCESS.setLevel(access_level)
