"""Figures are counted, summed and written down (figures.py).

It must not know what they count.
"""

import msgspec

from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Figures, Snapshot, encode


def test_sums_and_buckets() -> None:
    one, two = Figures(), Figures()
    one.count("c")
    one.count("c", by=2)
    two.count("c", by=5)
    two.count("other", ("a", "b"))
    one.row("h", ("x",), ROW_LENGTH)[0] += 2
    one.row("h", ("x",), ROW_LENGTH)[-1] += 100
    two.row("h", ("x",), ROW_LENGTH)[0] += 1
    two.row("h", ("x",), ROW_LENGTH)[-1] += 99
    one.add_totals(two)
    assert one.totals["c"] == {(): [8]}
    assert one.totals["other"] == {("a", "b"): [1]}
    assert one.totals["h"]["x",] == [3, *[0] * len(BOUNDS), 199]


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
    figures.row("h", (), ROW_LENGTH)[3] += 1
    figures.gauge("g", (), 0.5)
    snapshot = Snapshot(3, 4, 5.0, "", figures)
    assert msgspec.msgpack.decode(encode(snapshot), type=Snapshot) == snapshot
    assert snapshot.age_seconds(7.0) == 2.0
    assert snapshot.age_seconds(4.0) == 0.0
