"""Code of the pages: each block is run by a test or checked here, each command has options that exist.

It must not know what a page is about.
"""

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]

from outside_tools import outside_tool
from page_blocks import FENCED, PAGES, ROOT, blocks_of, lines_of
from python_server.command.cli import main, serve_command
from wsframe.__main__ import make_parser

# How many blocks of a page a test takes from there and runs. One more makes this test fail: run that too.
RUN = {
    "README.md": {"python": (1, "e2e/test_readme.py")},
    "docs/codec.md": {"python": (9, "wsframe/test_docs.py")},
    "docs/codec-loops.md": {"python": (2, "sync/test_client_pages.py")},
    "docs/deployment.md": {"dockerfile": (1, "e2e/test_listening.py")},
    "docs/how-to/admin-ui.md": {"python": (1, "e2e/test_admin_ui.py")},
    "docs/how-to/backplane.md": {
        "python": (2, "server/api/test_backplane_kit.py"),
        "toml": (1, "server/api/test_backplane_kit.py"),
    },
    "docs/how-to/below-a-path.md": {
        "python": (1, "e2e/test_how_to_pages.py"),
        "nginx": (1, "e2e/test_how_to_pages.py"),
        "html": (1, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/checked-events.md": {
        "python": (2, "e2e/test_checked_events.py"),
        "json": (1, "e2e/test_checked_events.py"),
        "ts": (1, "e2e/test_checked_events.py"),
    },
    "docs/how-to/containers.md": {"yaml": (1, "e2e/test_how_to_pages.py")},
    "docs/how-to/credentials-that-end.md": {
        "python": (2, "e2e/test_how_to_pages.py"),
        "js": (1, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/django.md": {"python": (3, "e2e/test_how_to_pages.py")},
    "docs/how-to/event-does-not-arrive.md": {
        "python": (2, "e2e/test_event_does_not_arrive.py"),
        "text": (2, "e2e/test_event_does_not_arrive.py"),
        "toml": (1, "e2e/test_event_does_not_arrive.py"),
    },
    "docs/how-to/files-and-binary.md": {
        "python": (1, "e2e/test_pages_in_browser.py"),
        "js": (3, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/from-django-channels.md": {
        "python": (2, "e2e/test_how_to_pages.py"),
        "html": (1, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/from-eventlet-gevent.md": {"python": (2, "e2e/test_how_to_pages.py")},
    "docs/how-to/from-node.md": {"python": (1, "e2e/test_how_to_pages.py")},
    "docs/how-to/login.md": {
        "python": (2, "e2e/test_how_to_pages.py"),
        "js": (1, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/nginx.md": {"nginx": (1, "e2e/test_listening.py")},
    "docs/how-to/streams.md": {
        "python": (1, "e2e/test_event_streams.py"),
        "js": (1, "e2e/test_event_streams.py"),
    },
    "docs/how-to/task-queues.md": {"python": (1, "e2e/test_how_to_pages.py")},
    "docs/how-to/tls.md": {
        "python": (1, "e2e/test_pages_in_browser.py"),
        "sh": (2, "e2e/test_pages_in_browser.py"),  # the second is a command, and looked at below
    },
    "docs/how-to/tokens-of-a-language-model.md": {
        "python": (2, "e2e/test_how_to_pages.py"),
        "html": (1, "e2e/test_pages_in_browser.py"),
    },
    "docs/how-to/who-is-there.md": {"python": (1, "e2e/test_how_to_pages.py")},
    "docs/how-to/tracing.md": {"python": (1, "e2e/test_tracing.py")},
    "docs/index.md": {"python": (1, "e2e/test_page_blocks.py")},
    "docs/operations.md": {"yaml": (2, "e2e/test_operations.py")},
    "docs/scaling.md": {
        "python": (3, "e2e/test_scaling_page.py"),
        "nginx": (4, "e2e/test_scaling_page.py"),
        "text": (1, "e2e/test_scaling_page.py"),
        "yaml": (1, "e2e/test_scaling_page.py"),
        "none": (1, "e2e/test_brokers.py"),
    },
    "docs/testing.md": {"python": (5, "server/api/test_pytest_plugin.py")},
    "docs/tutorial.md": {"python": (5, "e2e/test_tutorial.py"), "html": (1, "e2e/test_tutorial.py")},
    "docs/websocket-client.md": {"python": (1, "sync/test_client_pages.py")},
    "docs/websockets.md": {"python": (2, "e2e/test_page_blocks.py")},
}
HERE = {
    "docs/deployment.md": {"sh": 1, "console": 1},
    "docs/how-to/systemd.md": {"ini": 3},
    "docs/migration.md": {"": 2},
    "docs/threads.md": {"python": 2},
}
# By page and language: what cannot be run, and why.
LEFT_OUT = {
    ("docs/scaling.md", "console"): "a server with a broker; e2e/test_status.py asks the same",
    ("docs/operations.md", "text"): "a server under load; server/command/test_status.py makes such lines",
    ("docs/limits.md", ""): "gibibytes and ten thousand clients; test_pages.py looks for files and options",
    ("docs/benchmarks/e2e.md", ""): "minutes on a quiet machine; its options are looked at below",
    ("docs/benchmarks/wsgi.md", ""): "minutes on a quiet machine; its options are looked at below",
}
# Lines to type that are neither ours, nor gunicorn's, nor make's.
LINES = {
    "python shout.py": "e2e/test_readme.py",
    "echo hello | wsframe connect ws://127.0.0.1:8000/echo --wait 0.5": "sync/test_terminal.py pipes lines",
    'pip install "wsframe[metrics]"': "its package is among those of the tests",
    'pip install "wsframe[otel]" opentelemetry-sdk': "its packages are among those of the tests",
    "pip install pytest": "pytest runs this test",
    "pytest test_quiz.py": "e2e/test_tutorial.py",
    "wsframe schema talk:app -o events.json": "e2e/test_checked_events.py",
    "wsframe schema talk:app --typescript -o events.ts": "e2e/test_checked_events.py",
    'socketio.emits("said", Said)': "e2e/test_checked_events.py",
    'socketio.emits("sure?", str, answer=bool, namespace="/shop")': "server/api/test_event_schema.py",
    "wsframe explain port-in-use": "server/command/test_explain.py",
    '0 * * * * shop wsframe emit "full hour" --control /run/shop/control.sock': "e2e/test_how_to_pages.py",
}
# In backticks, though neither ours nor gunicorn's: docker, pip, prlimit, uWSGI, Flask.
OPTIONS = {
    *("--time", "--no-deps", "--nofile", "--without-threads", "--gevent", "--http-websockets", "--module"),
    *("--harakiri", "--master", "--processes", "--static-map"),
}

BY_SPHINX = ("{toctree}", "{eval-rst}", "{include}")
COMMAND = re.compile(
    r"(?:(wsframe serve|python -m python_server)|wsframe(?= emit)|(gunicorn)(?= -k python_server)) (.*)"
)
INLINE = re.compile(r"`([^`\n]+)`")


def prose(page: str) -> str:
    return FENCED.sub("", PAGES[page])


def written_commands() -> list[str]:
    """Each at its line's end: those to type, those of blocks, those in backticks."""
    lines = [line for page in PAGES for line in [*lines_of(page), *INLINE.findall(prose(page))]]
    for page, language in (("docs/deployment.md", "console"), ("docs/how-to/tls.md", "sh")):
        lines += "".join(blocks_of(page, language)).splitlines()
    lines += re.findall(r"^ExecStart=\S*/(wsframe .*)$", PAGES["docs/how-to/systemd.md"], re.MULTILINE)
    return sorted({found[0] for line in lines if (found := COMMAND.search(line))})


def bench_lines() -> list[str]:
    blocks = "".join(block for page in PAGES for block in blocks_of(page, ""))
    return re.findall(r'BENCH="?([^"\n]*)', blocks)


def test_each_block_is_run_or_has_a_reason() -> None:
    found = {
        (page, language): count
        for page, text in PAGES.items()
        for language, count in Counter(language for language, _ in FENCED.findall(text)).items()
        if language not in BY_SPHINX
    }
    known = {(page, language): count for page, kinds in HERE.items() for language, count in kinds.items()}
    for page, kinds in RUN.items():
        for language, (count, file) in kinds.items():
            known[page, language] = count
            assert Path(page).stem in (ROOT / "tests" / file).read_text("utf-8"), f"{file} has no {page}"
    left_out = {place: found.get(place) for place in LEFT_OUT}
    assert found == {**known, **left_out}


def test_each_line_to_type_is_known() -> None:
    known = ("make ", "python tests/", "wsframe serve ", "wsframe connect ")
    known += ("gunicorn ", "WSFRAME_DROP_IN=1 gunicorn ")
    others = {line for page in PAGES for line in lines_of(page) if not line.startswith(known)}
    assert others == LINES.keys()


@pytest.mark.parametrize("line", written_commands())
def test_a_command_is_well_formed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it can be told without the application."""
    monkeypatch.chdir(ROOT)
    found = COMMAND.search(line)
    assert found
    serve, gunicorn, rest = found.groups()
    words = shlex.split(rest.replace("$PORT", "8000").replace(" ...", ""))
    if gunicorn:
        Config().parser().parse_args(words)
    elif words != ["--help"]:
        (serve_command if serve else main).make_context("wsframe", words)


def connect_lines() -> list[str]:
    lines = [line for page in PAGES for line in [*lines_of(page), *INLINE.findall(prose(page))]]
    return sorted(line for line in lines if line.startswith("wsframe connect "))


@pytest.mark.parametrize("line", connect_lines())
def test_a_connect_command_is_well_formed(line: str) -> None:
    make_parser("wsframe connect").parse_args(shlex.split(line)[2:])


def test_the_benchmarks_options_exist() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "bench" / "e2e").glob("*.py"))
    named = {word for line in bench_lines() for word in line.split() if word.startswith("--")}
    assert len(named) > 3
    assert not {word for word in named if f'"{word}"' not in source}


def options(command: click.Command) -> set[str]:
    below = getattr(command, "commands", {}).values()
    own = {word for parameter in command.params for word in [*parameter.opts, *parameter.secondary_opts]}
    return own.union(*(options(other) for other in below)) | {"--help"}


def test_every_option_that_a_page_names_exists() -> None:
    theirs = {word for setting in Config().settings.values() for word in setting.cli or ()}
    connect = {word for action in make_parser("")._actions for word in action.option_strings}
    known = options(main) | options(serve_command) | theirs | connect | OPTIONS
    code = {
        text
        for page in PAGES
        if not page.startswith("docs/benchmarks/")
        for text in INLINE.findall(prose(page))
        if "bench/" not in text and page != "docs/codec.md"
    }
    named = {word for text in code for word in re.findall(r"(?:^|[ =])(--[a-z][\w-]*)", text)}
    assert len(named) > 80
    assert not named - known


def test_the_units_of_systemd(tmp_path: Path) -> None:
    program = outside_tool("systemd-analyze")
    listening, service, reloaded = blocks_of("docs/how-to/systemd.md", "ini")
    service = service.replace("/srv/shop/venv/bin/wsframe", str(Path(sys.executable).with_name("wsframe")))
    service = service.replace("[Install]", f"{reloaded}\n[Install]").replace("/srv/shop", str(tmp_path))
    units = [tmp_path / name for name in ("shop.socket", "shop.service")]
    for unit, text in zip(units, (listening, service), strict=True):
        assert text.startswith(f"# {unit.name}\n")
        unit.write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=120, check=False
    )
    assert not [line for line in done.stderr.splitlines() if "shop." in line]


def test_the_shell_completes_after_the_line_of_the_page(tmp_path: Path) -> None:
    (block,) = blocks_of("docs/deployment.md", "sh")
    bash, zsh, fish = block.splitlines()
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def typed(text: str) -> str:
        command = [outside_tool("bash"), "--norc", "-c", text]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "wsframe" in typed(f"{bash}\ncomplete -p wsframe")
    # The other two shells may be missing; what they are to read is not.
    for line in (zsh.partition("$(")[2].partition(")")[0], fish.partition(" |")[0]):
        assert "wsframe" in typed(line)


def test_the_imports_of_the_page_of_migration() -> None:
    for block in blocks_of("docs/migration.md", ""):
        subprocess.run([sys.executable, "-c", block], check=True, capture_output=True)


def test_the_blocks_about_threads() -> None:
    scope: dict[str, object] = {"counts": {}, "room": "red"}
    for block in blocks_of("docs/threads.md", "python"):
        exec(compile(block, "threads.md", "exec"), scope)
    assert scope["counts"] == {"red": 1}
