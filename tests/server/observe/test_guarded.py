"""Loggers with an operator's handlers: secrets stay out, and what a handler raises stops nobody.

It must not know who logs.
"""

import io
import logging

import pytest

from python_server.observe.guarded import guarded, mask_record


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(written: io.StringIO) -> logging.Logger:
    """With a handler and a formatter of Python's own."""
    logger = guarded(logging.Logger("shop"), mask_record)
    logger.addHandler(logging.StreamHandler(written))
    return logger


def test_who_logs_goes_on_when_a_handler_raises(
    logger: logging.Logger, written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(Failing())
    logger.error("%s", "first")
    assert written.getvalue() == "first\n"
    assert "OSError: the disk is full" in capsys.readouterr().err


def test_who_logs_goes_on_when_a_filter_raises(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise ValueError("no such field")

    logger.addFilter(fail)
    logger.error("first")
    assert "ValueError: no such field" in capsys.readouterr().err


def test_arguments_that_do_not_fit_stop_nobody(logger: logging.Logger, written: io.StringIO) -> None:
    logger.error("%d", "x")
    assert written.getvalue() == "a line of the log could not be made: TypeError\n"


def test_no_formatter_shows_a_secret(logger: logging.Logger, written: io.StringIO) -> None:
    try:
        raise ValueError("GET /?sid=hunter2")
    except ValueError:
        logger.exception("GET /?%s failed", "token=hunter2")
    assert "hunter2" not in written.getvalue()
    assert written.getvalue().startswith("GET /?token=*** failed\nTraceback")
    assert written.getvalue().endswith("ValueError: GET /?sid=***\n")


def test_levels_and_what_is_no_record_of_a_fault_stay(logger: logging.Logger, written: io.StringIO) -> None:
    logger.setLevel(logging.ERROR)
    logger.warning("below")
    logger.error("100 % of it")
    assert written.getvalue() == "100 % of it\n"
