"""A count that is worth a line: said now and then, counted always (observe/counters.py).

It must not know who counts.
"""

import pytest

from python_server.observe.counters import Counters
from python_server.observe.log import LOGGER


def test_a_complaint_is_counted_always_and_said_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [50.0]
    monkeypatch.setattr(LOGGER, "propagate", True)
    counters = Counters(lambda: now[0])
    for _ in range(3):
        counters.complain("kind", "said")
        now[0] += 6.0
    assert counters.counts["kind"] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "said",
        "said (and 1 more of the same before)",
    ]
