"""The text that Prometheus reads, and health (exposition.py).

It must not know who serves it.
"""

import gzip
import re
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from python_server.monitoring.catalogue import CATALOGUE, OF_WORKERS, SUMMED, kind_of
from python_server.monitoring.exposition import make_application
from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Collected, Figures, Snapshot

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "metrics.md"


def figures(count: int, seconds: float) -> Figures:
    made = Figures()
    made.count("wsframe_events_received_total", ("/",), count)
    made.count("of_another_version_total", (), 9)
    row = made.row("wsframe_handler_duration_seconds", ("/", 'q"\n'), ROW_LENGTH)
    row[bisect_left(BOUNDS, seconds)] += 1
    row[-1] += seconds
    made.gauge("wsframe_connections", (), count)
    return made


def collected() -> Collected:
    living = [Snapshot(2, 20, 99.5, "", figures(3, 0.2)), Snapshot(3, 30, 90.0, "", figures(4, 50.0))]
    return Collected(living, figures(5, 0.0001), 4)


def ask(path: str, query: str = "", **environ: str) -> tuple[str, dict[str, str], bytes]:
    answer: list[Any] = []
    application = make_application(collected, lambda: 100.0)
    body = b"".join(
        application(
            {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, **environ},
            lambda status, headers: answer.append((status, dict(headers))),
        )
    )
    return answer[0][0], answer[0][1], body


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_sums_hold_the_dead_and_gauges_the_living() -> None:
    status, headers, body = ask("/metrics")
    assert status == "200 OK"
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = samples(body)
    assert found["wsframe_events_received_total", "/"] == 12
    assert found["wsframe_workers_started_total",] == 4
    assert found["wsframe_requests_total",] == 0
    name = "wsframe_handler_duration_seconds"
    quoted = 'q"\n'
    assert found[f"{name}_bucket", "/", "0.0005", quoted] == 1
    assert found[f"{name}_bucket", "/", "0.25", quoted] == 2
    assert found[f"{name}_bucket", "+Inf", "/", quoted] == found[f"{name}_count", "/", quoted] == 3
    assert found[f"{name}_sum", "/", quoted] == pytest.approx(50.2001)
    assert found["wsframe_connections", "2"] == 3
    assert found["wsframe_worker_up", "2"] == found["wsframe_worker_ready", "2"] == 1
    assert found["wsframe_worker_up", "3"] == found["wsframe_worker_ready", "3"] == 0
    assert found["wsframe_worker_snapshot_age_seconds", "3"] == 10
    assert b"another_version" not in body


def test_what_the_scrape_asks_for() -> None:
    _, headers, body = ask("/metrics", HTTP_ACCEPT_ENCODING="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"wsframe_connections" in gzip.decompress(body)
    _, headers, _ = ask("/metrics", HTTP_ACCEPT="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    _, _, body = ask("/metrics", "name[]=wsframe_connections")
    assert {name for name, *_ in samples(body)} == {"wsframe_connections"}


def test_health_and_other_paths() -> None:
    status, _, body = ask("/healthz")
    assert (status, body) == (
        "503 Service Unavailable",
        b"worker 3 (process 30) has stood still for 10 s\n",
    )
    assert ask("/readyz")[::2] == ("200 OK", b"ok\n")
    assert ask("/")[0] == "404 Not Found"


def test_each_metric_has_its_line_on_the_page() -> None:
    lines = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    said = [(name, kind, re.findall(r"`(\w+)`", labels), text) for name, kind, labels, text in lines]
    assert said == [
        (name, kind_of(name), list(metric.labels), metric.help) for name, metric in CATALOGUE.items()
    ]


def test_labels_tell_whose_a_value_is() -> None:
    assert all(metric.labels[:1] == ("worker",) for metric in OF_WORKERS.values())
    assert not any("worker" in metric.labels for metric in SUMMED.values())
    assert all(re.fullmatch(r"wsframe_[a-z_]+", name) for name in CATALOGUE)
