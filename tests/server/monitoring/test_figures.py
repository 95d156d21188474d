"""Figures are counted, summed and written down (figures.py).

It must not know what they count.
"""

import msgspec

from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Figures, Snapshot, encode, observe


def test_sums_and_buckets() -> None:
    one, two = Figures(), Figures()
    one.count("c")
    one.count("c", by=2)
    two.count("c", by=5)
    two.count("other", ("a", "b"))
    for value in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, 99.0):
        observe(one.row("h", ("x",), ROW_LENGTH), value)
    observe(two.row("h", ("x",), ROW_LENGTH), 99.0)
    one.add_totals(two)
    assert one.totals["c"] == {(): [8]}
    assert one.totals["other"] == {("a", "b"): [1]}
    row = one.totals["h"]["x",]
    assert len(row) == ROW_LENGTH
    assert (row[0], row[1], row[-2]) == (2, 1, 2)
    assert row[-1] > 198


def test_a_sum_shares_nothing_and_leaves_other_bounds_out() -> None:
    one, two = Figures(), Figures()
    two.count("c")
    one.add_totals(two)
    two.count("c")
    assert one.totals["c"] == {(): [1]}
    one.add_totals(Figures({"c": {(): [1.0, 2.0]}}))
    assert one.totals["c"] == {(): [1]}


def test_gauges_of_several_parts_are_one() -> None:
    figures = Figures()
    figures.gauge("g", ("/",), 2)
    figures.gauge("g", ("/",), 3)
    assert figures.gauges == {"g": {("/",): 5}}


def test_a_snapshot_goes_through_bytes() -> None:
    figures = Figures()
    figures.count("c", ("ü", "/"))
    observe(figures.row("h", (), ROW_LENGTH), 1.0)
    figures.gauge("g", (), 0.5)
    snapshot = Snapshot(3, 4, 5.0, "", figures)
    assert msgspec.msgpack.decode(encode(snapshot), type=Snapshot) == snapshot
    assert snapshot.age_seconds(7.0) == 2.0
    assert snapshot.age_seconds(4.0) == 0.0
