"""The codec's micro benchmarks: what is measured, what a goal says, and the page made of it.

It must not time anything worth quoting: a run here is as short as a run can be.
"""

import importlib
import json
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MICRO = ROOT / "bench" / "micro"
RATIOS = MICRO / "ratios.py"
MODULES = (
    "cases",
    "deflate_cases",
    "goals",
    "receive_cases",
    "report",
    "send_cases",
    "streams",
    "tasks",
    "units",
)
FORMS = ("wsframe", "wsframe_connection", "wsframe_buffer")
# Of the packages that the tests are installed with.
ALWAYS = ("websockets", "wsproto", "gevent_websocket")


@pytest.fixture
def micro(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of bench/micro; other benchmarks have some of the same names."""
    shared = re.compile(r"(mask_cases|echo_cases|peers(\..*)?|{})".format("|".join(MODULES)))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if shared.fullmatch(name)}
    monkeypatch.syspath_prepend(str(MICRO))
    try:
        yield Namespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        for name in [name for name in sys.modules if shared.fullmatch(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def installed(micro: Any) -> dict[str, ModuleType]:
    return {name: module for name, module in micro.cases.installed_peers().items() if module is not None}


def task_of(micro: Any, name: str) -> Any:
    (task,) = (task for task in micro.tasks.all_tasks() if task.name == name)
    return task


def test_the_peers_of_the_test_environment_are_found(micro: Any) -> None:
    assert {*FORMS, *ALWAYS} <= set(installed(micro))


def test_every_goal_has_a_task_and_every_task_its_sentence_and_its_section(micro: Any) -> None:
    names = [task.name for task in micro.tasks.all_tasks()]
    assert len(names) == len(set(names))
    for goal in micro.goals.GOALS:
        assert any(goal in micro.goals.goals_of(name) for name in names), goal
    told = re.findall(r"^- (.*?): ", micro.report.NOTES.read_text("utf-8"), re.MULTILINE)
    words = [word for line in told for word in re.findall(r"\*(.+?)\*", line)]
    for name in names:
        assert any(word in name for word in words), f"codec-notes.md does not say what {name!r} favours"
        assert [section for section in micro.report.SECTIONS if section.of({name: None})], name
    for word in words:
        assert any(word in name for name in names), f"no task has {word!r}"


@pytest.mark.parametrize(
    "name",
    [
        "server receives binary, 32 B",
        "server receives mixed sizes",
        "server receives CJK text, 16 KiB in 4 fragments",
        "server receives binary, 32 B, a frame per read",
        "server receives binary, 32 B, all in one read",
        "client receives JSON of 20-120 B",
        "client receives binary, 1 MiB",
        "server sends mixed sizes",
        "server sends Cyrillic text, 16 KiB",
        "client sends binary, 32 B",
        "deflate with context: server sends JSON of 20-120 B",
        "deflate without context: server receives JSON of 2.5 KB",
        "deflate by everyone's defaults: server sends JSON of 2.5 KB",
        "receive a frame of 32 B, the call alone",
        "encode a message of 32 B, the call alone",
        "mask 1024 B copying",
    ],
)
def test_a_task_is_done_by_all_who_can(micro: Any, name: str) -> None:
    """What each of them gives is looked at while the case is made."""
    peers = installed(micro)
    found = {case.peer: case for case in task_of(micro, name).cases(peers)}
    for case in found.values():
        case.call()
        assert case.payload_bytes > case.items
    if "alone" in name or "mask" in name:
        assert {"wsframe"} <= set(found)
    elif name.startswith("deflate"):
        assert {"wsframe_zlib", "websockets", "wsproto"} <= set(found)
    else:
        assert {"wsframe", "wsframe_connection", "websockets", "wsproto"} <= set(found)


def test_what_is_compressed_is_counted(micro: Any) -> None:
    sent = {}
    for words in ("with", "without"):
        task = task_of(micro, f"deflate {words} context: server sends JSON of 2.5 KB")
        sent[words] = {case.peer: case for case in task.cases(installed(micro))}
    for peer in ("wsframe_zlib", "websockets", "wsproto"):
        few, more = sent["with"][peer], sent["without"][peer]
        assert few.wire_bytes < more.wire_bytes < few.payload_bytes / 3
    # The same library with the same settings: so the times are of the same work.
    assert sent["without"]["wsframe_zlib"].wire_bytes == sent["without"]["websockets"].wire_bytes


def wrong_receiver(*given: Any) -> Callable[[], None]:
    handle = given[-1]
    return lambda: handle("something else")


def wrong_sender(*given: Any) -> Callable[[], None]:
    sink = given[-1]
    return lambda: sink.write(b"\x82\x01x")


@pytest.mark.parametrize(
    "name",
    [
        "server receives binary, 32 B",
        "client sends binary, 32 B",
        "deflate with context: server receives JSON of 2.5 KB",
    ],
)
def test_a_peer_that_does_something_else_has_no_figure(micro: Any, name: str) -> None:
    form = SimpleNamespace(receive=wrong_receiver, send=wrong_sender)
    peer: Any = SimpleNamespace(compressing=lambda: {"wrong": form}, **vars(form))
    with pytest.raises(RuntimeError, match="wrong does not"):
        list(task_of(micro, name).cases({"wrong": peer}))


def test_streams_are_cut_where_a_socket_cuts_them(micro: Any) -> None:
    streams = micro.streams
    (mixed,) = (messages for messages in streams.regimes() if messages.name == "mixed sizes")
    assert len(mixed.fragments) == 0.05 * len(mixed.items)
    assert {type(item) for item in mixed.items} == {str, bytes}
    reads = streams.reads_of(mixed, "server")
    assert [len(view) for view in reads.views[:-1]] == [65_536] * (len(reads.views) - 1)
    for nbytes in (20, 128, 1 << 20):
        for script in streams.SCRIPTS:
            assert nbytes - 3 <= len(streams.text_of(script, nbytes).encode()) <= nbytes
    assert all(20 <= len(text.encode()) <= 120 for text in list(streams.regimes())[1].items)


def test_a_ratio_is_taken_in_each_round(micro: Any) -> None:
    seconds = {
        "wsframe": [1.0, 2.0, 4.0],
        "a": [3.0, 8.0, 8.0],
        "b": [2.0, 9.0, 9.0],
        "limit: x": [1.0, 1.0, 1.0],
    }
    found = micro.goals.ratio_of(seconds, "wsframe", "peers")
    assert (found["ratio"], found["low"], found["high"]) == (2.0, 2.0, 4.0)
    assert found["other"] == "a"
    assert micro.goals.ratio_of(seconds, "wsframe", "b")["ratio"] == 2.25
    assert micro.goals.ratio_of(seconds, "wsframe", "limit")["ratio"] == 0.5
    assert micro.goals.ratio_of(seconds, "wsframe", "picows") is None
    assert micro.goals.ratio_of(seconds, "wsframe_isal", "a") is None


def test_a_goal_for_the_size_can_fail_alone(micro: Any) -> None:
    task = "deflate with context: server sends JSON of 2.5 KB"
    seconds = {"wsframe_isal": [1.0, 1.0], "websockets": [2.0, 2.0]}
    for ours, met in ((115, True), (116, False)):
        (found,) = micro.goals.results_of(task, seconds, {"wsframe_isal": ours, "websockets": 100})
        assert found["ratio"] == 2.0
        assert micro.goals.is_met(found) is met
        words = micro.report.ratio_words(found)
        assert words.startswith("**") is not met


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.61e-8, "36.1 ns"), (9.96e-7, "996 ns"), (2.069e-3, "2.07 ms"), (1.24e-4, "124 us"), (3.5, "3500 ms")],
)
def test_durations_have_three_digits(micro: Any, seconds: float, words: str) -> None:
    assert micro.units.duration(seconds) == words


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RATIOS), *words], capture_output=True, text=True, check=False)


def test_a_run_of_some_tasks_and_its_page(micro: Any, tmp_path: Path) -> None:
    out = tmp_path / "codec.json"
    pattern = r"receives binary, 32 B$|mask 16 B|echo on asyncio, 128 B|with context: server sends JSON of 20"
    done = run("--rounds", "2", "--tasks", pattern, "--out", str(out))
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(out.read_text("utf-8"))
    assert list(report["tasks"]) == [
        "server receives binary, 32 B",
        "client receives binary, 32 B",
        "deflate with context: server sends JSON of 20-120 B",
        "echo on asyncio, 128 B",
        "mask 16 B in place",
        "mask 16 B copying",
    ]
    assert all(
        found["peers"]["wsframe"]["items_per_second"] > 0 for found in (report["tasks"]["mask 16 B copying"],)
    )
    missed = sum(
        not micro.goals.is_met(goal) for found in report["tasks"].values() for goal in found["goals"]
    )
    assert f"{missed} goals not met" in done.stdout
    assert done.returncode == bool(missed)
    page = micro.report.page(report)
    assert "| server receives binary, 32 B | " in page
    assert re.search(r"\| echo on asyncio, 128 B \| [\d.]+ us \|", page)
    assert re.search(r"wsframe_zlib \|.*\n.*\n\| deflate with context.* us, \d+ B \|", page)


def test_a_run_of_a_part_does_not_replace_the_pages_figures(tmp_path: Path) -> None:
    kept = (ROOT / "docs" / "benchmarks" / "codec.json").read_bytes()
    done = run("--quick", "--tasks", "encode a message")
    assert done.returncode in (0, 1), done.stderr
    assert (ROOT / "docs" / "benchmarks" / "codec.json").read_bytes() == kept


def test_a_build_of_ours_is_measured_alone() -> None:
    """What `--against` asks of each build; it may have goals among its own forms, met or not."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import ratios, builds, json, pathlib; "
        "build = builds.Build('this', pathlib.Path(sys.executable)); "
        "print(json.dumps(ratios.items_per_second(build, 1, 'call alone')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(MICRO)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {
        f"{task}, the call alone ({form})"
        for task in ("receive a frame of 32 B", "encode a message of 32 B")
        for form in ("wsframe", "wsframe_connection")
    }
    assert all(figure > 0 for figure in figures.values())
