"""The dashboard for Grafana: it names metrics that there are, and leaves none out without a reason.

It must not know how Grafana draws; e2e/test_operations.py has a real Prometheus read it.
"""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from dashboard import DASHBOARD, METRIC, expressions
from python_server.monitoring.catalogue import CATALOGUE, DURATIONS

SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
# By each worker what is there as a sum, and what a panel says better.
NOT_SHOWN = {
    *("wsframe_worker_events_received_total", "wsframe_worker_requests_total"),
    *("wsframe_worker_snapshot_age_seconds", "wsframe_broker_queued_messages"),
}
LABELS = re.compile(r"by \(([\w, ]+)\)|{{(\w+)}}")
# Of Prometheus itself, and of a histogram.
OTHER_LABELS = {"instance", "le"}


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def test_panels_have_ids_and_titles_of_their_own() -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in panels()]
        assert len(values) == len(set(values)) > 20


def test_panels_do_not_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in panels()]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


def test_the_data_source_is_whoever_imports_it_chooses() -> None:
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["DS_PROMETHEUS", "job"]
    for panel in panels():
        assert panel["type"] == "row" or panel["datasource"] == SOURCE
        assert all(target["datasource"] == SOURCE for target in panel.get("targets", ()))
    assert "uid" not in json.dumps(DASHBOARD).replace(json.dumps(SOURCE), "").replace('"uid": "wsframe"', "")


def test_each_metric_exists_and_each_is_shown() -> None:
    named = {name for text in expressions() for name in METRIC.findall(text)}
    assert named | NOT_SHOWN == {*CATALOGUE, f"{DURATIONS}_bucket"} - {DURATIONS}
    assert not named & NOT_SHOWN


@pytest.mark.parametrize(
    "panel", [each for each in panels() if "targets" in each], ids=lambda each: each["title"]
)
def test_labels_are_those_of_the_metrics(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        text = target["expr"]
        known = {
            label for name in METRIC.findall(text) for label in CATALOGUE[name.removesuffix("_bucket")].labels
        }
        asked = {
            label
            for many, one in LABELS.findall(f"{text} {target['legendFormat']}")
            for label in (many or one).split(", ")
        }
        assert asked <= known | OTHER_LABELS
        assert text.count('{job=~"$job"') == len(METRIC.findall(text))
