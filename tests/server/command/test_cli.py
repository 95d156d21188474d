"""The command line: what it says and how it exits, asked as a user would ask it.

It must not know how anything is served.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from python_server.command import cli
from python_server.command.cli import serve_command


def process(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str]:
    """Run `python -m python_server ...` to its end; (exit code, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "python_server", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd or "/",
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stderr


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command does to its process is taken back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The same command in this process; (exit code, standard error)."""
    result = CliRunner().invoke(serve_command, arguments, prog_name="wsframe serve", env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been served: nothing is, and its settings are kept."""
    begun: list[Any] = []
    monkeypatch.setattr(cli, "serve", lambda site, settings: begun.append(("serve", site, settings)))
    monkeypatch.setattr(cli, "supervise", lambda settings: begun.append(("supervise", None, settings)))
    monkeypatch.setattr(
        cli, "run_reloading", lambda watched, settings: begun.append(("reload", watched, settings))
    )
    monkeypatch.setattr(cli, "serves_here", lambda: False)
    return begun


PROGRAM = "def app(environ, start_response): ...\n"


def test_a_busy_port_says_what_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = process("--port", str(port))
    assert status == 1
    assert said.strip().count("\n") == 0
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in said
    assert "--port" in said


def test_options_may_stand_in_the_environment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in process(env={"WSFRAME_PORT": str(port)})[1]


def test_usage_errors_exit_with_2() -> None:
    status, said = run("--port", "99999")
    assert status == 2
    assert "99999 is not in the range" in said
    status, said = run("--nosuch")
    assert status == 2
    assert "--nosuch" in said


def test_another_python_server_on_the_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "python_server.py").write_text("x = 1\n")
    script = Path(sys.executable).with_name("wsframe")
    done = subprocess.run(
        [script, "serve"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert str(tmp_path / "python_server.py") in done.stderr
    assert "pip uninstall python-server" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_console_script_has_subcommands() -> None:
    script = Path(sys.executable).with_name("wsframe")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=120, check=True)
    assert "serve" in done.stdout


def test_the_page_of_options_is_made_from_the_code() -> None:
    script = Path(__file__).parents[3] / "docs" / "make_options.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (("--host", "0.0.0.0"), "0.0.0.0:8000"),
        (("--host", ""), ":8000"),
        (("--host", "::"), "[::]:8000"),
        (("-b", "127.0.0.1:1", "-b", "shop.example:80"), "shop.example:80"),
    ],
)
def test_debug_on_a_public_address_is_refused_unless_one_insists(
    arguments: tuple[str, ...], address: str
) -> None:
    status, said = run("--debug", *arguments, "--check-config")
    assert status == 2
    assert f"--debug on {address}, which other machines may reach" in said
    assert run("--debug", *arguments, "--allow-public-debug", "--check-config") == (0, "")
    assert run(*arguments, "--check-config")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--host", "127.0.0.2"),
        ("--host", "::1"),
        ("--host", "localhost"),
        ("-b", "unix:/tmp/nowhere.sock"),
        ("-b", "[::1]:80", "-b", "app.localhost:80"),
    ],
)
def test_debug_on_this_machine_alone_is_fine(arguments: tuple[str, ...]) -> None:
    assert run("--debug", *arguments, "--check-config") == (0, "")


@pytest.mark.parametrize("option", ["--access-log", "--error-log"])
def test_a_log_file_that_cannot_be_opened_is_refused(tmp_path: Path, option: str) -> None:
    folder = tmp_path / "there is no such folder"
    said = f"Error: {option} {folder / 'log'}: No such file or directory\n"
    assert run(option, str(folder / "log"), "--check-config") == (1, said)
    assert run(option, str(tmp_path), "--check-config") == (
        1,
        f"Error: {option} {tmp_path}: Is a directory\n",
    )


def test_a_check_leaves_log_files_as_they_were(tmp_path: Path) -> None:
    kept, new, pipe = tmp_path / "kept", tmp_path / "new", tmp_path / "pipe"
    kept.write_text("a line\n")
    os.mkfifo(pipe)  # nobody reads: to open it would wait for ever
    for path in (kept, new, pipe):
        assert run("--access-log", str(path), "--error-log", str(path), "--check-config") == (0, "")
    assert kept.read_text() == "a line\n"
    assert not new.exists()
    assert run("--access-log", "-", "--check-config") == (0, "")


def test_a_malformed_allowed_host_is_refused(tmp_path: Path) -> None:
    status, said = run("--allowed-hosts", "shop.test,http://x", "--check-config")
    assert status == 2
    assert "'http://x' is no name of a host" in said
    assert run("--check-config", env={"WSFRAME_ALLOWED_HOSTS": "a b"})[0] == 2
    (tmp_path / "server.toml").write_text('allowed-hosts = "a/b"\n')
    assert run("--check-config", "--config", str(tmp_path / "server.toml"))[0] == 2


def test_an_application_that_cannot_be_found_exits_with_1(tmp_path: Path) -> None:
    status, said = process("nosuch:app", "--app-dir", str(tmp_path))
    assert status == 1
    assert said.startswith("Error: no module named 'nosuch'")
    assert said.count("\n") == 1


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, begun: list[Any]
) -> None:
    (tmp_path / "server.toml").write_text('port = 1\nhost = "127.0.0.9"\nthreads = 3\n')
    config = ("--config", str(tmp_path / "server.toml"))
    assert run(*config, "--host", "127.0.0.2", env={"WSFRAME_HOST": "127.0.0.3", "WSFRAME_PORT": "2"})[0] == 0
    ((kind, _, settings),) = begun
    assert kind == "serve"
    assert (settings.host, settings.port, settings.wsgi_threads_count) == ("127.0.0.2", 2, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file or directory"),
        ("port: 1", "is not TOML"),
        ("prot = 1", "there is no option 'prot'"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "server.toml"
    if text is not None:
        path.write_text(text)
    status, said = run("--config", str(path))
    assert status == 2
    assert words in said


def test_a_list_of_no_host_is_not_everybody() -> None:
    status, said = run("--allowed-hosts", " , ", "--check-config")
    assert status == 2
    assert "--allowed-hosts: ' , ' names no host" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backlog", "99999999999"), "'--backlog': 99999999999 is not in the range"),
        (("--workers", "100000000"), "'--workers' / '-w': 100000000 is not in the range 1<=x<=512"),
        (("--timeout-header", "nan"), "'--timeout-header': 'nan' is no number of seconds"),
        (("--worker-timeout", "NaN"), "'--worker-timeout': 'NaN' is no number of seconds"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(arguments: tuple[str, str], words: str) -> None:
    status, said = run(*arguments, "--check-config")
    assert status == 2
    assert words in said


def test_the_application_is_loaded_from_its_folder_with_its_environment(
    tmp_path: Path, begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "as it was")
    monkeypatch.delenv("GIVEN", raising=False)
    (tmp_path / "shop_of_this_test.py").write_text(PROGRAM)
    (tmp_path / "env").write_text("# a comment\n\nexport GIVEN='a value'\nKEPT=new\n")
    arguments = ("shop_of_this_test:app", "--app-dir", str(tmp_path), "--env-file", str(tmp_path / "env"))
    assert run(*arguments, "--no-access-log")[0] == 0
    ((_, site, settings),) = begun
    assert site.application.__name__ == "app"
    assert settings.access_log is None
    assert (os.environ.pop("GIVEN"), os.environ["KEPT"]) == ("a value", "as it was")
    del sys.modules["shop_of_this_test"]


@pytest.mark.parametrize(("text", "words"), [(None, "No such file"), ("a b", "line 1: expected NAME=value")])
def test_a_file_of_variables_that_is_none(
    tmp_path: Path, begun: list[Any], text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "env").write_text(text)
    status, said = run("--env-file", str(tmp_path / "env"))
    assert status == 1
    assert words in said
    assert begun == []


def test_several_workers_have_a_supervisor_and_a_reloader_watches(tmp_path: Path, begun: list[Any]) -> None:
    assert run("nosuch:app", "--workers", "2")[0] == 0  # its workers look for the application
    assert run("nosuch:app", "--reload", "--reload-dir", str(tmp_path))[0] == 0
    (first, _, settings), (second, watched, _) = begun
    assert (first, settings.workers_count) == ("supervise", 2)
    assert (second, watched.folders) == ("reload", [str(tmp_path)])


def test_debug_brings_the_debugger_and_the_most_talkative_log(tmp_path: Path, begun: list[Any]) -> None:
    (tmp_path / "debugged_of_this_test.py").write_text(PROGRAM)
    assert run("debugged_of_this_test:app", "--app-dir", str(tmp_path), "--debug")[0] == 0
    ((_, site, settings),) = begun
    assert type(site.application).__name__ == "DebuggedApplication"
    assert settings.log_level == "debug"
    del sys.modules["debugged_of_this_test"]


def test_the_help_stands_under_headings() -> None:
    shown = CliRunner().invoke(serve_command, ["--help"]).output
    places = [
        shown.index(f"{heading}:\n") for heading in ("Application", "Listening", "TLS", "Logs", "Other")
    ]
    assert places == sorted(places)
    assert "--limit-concurrency" in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("limit-concurrency = 1.5", "'--limit-concurrency': '1.5' is not a valid integer"),
        ("limit-memory = true", "limit-memory: True is no value of this option"),
        ("threads = []", "threads: [] is no value of this option"),
        ("threads = [1]", "threads: [1] is no value of this option"),
        ("host = { a = 1 }", "host: {'a': 1} is no value of this option"),
        ("bind = [['x']]", "bind: [['x']] is no value of this option"),
        ("allowed-hosts = [1.5, true]", "True is no value of this option"),
        ("timeout-header = nan", "'--timeout-header': 'nan' is no number of seconds"),
        ("debug = []", "debug: [] is no value of this option"),
        ("target = ['a']", "target: ['a'] is no value of this option"),
    ],
)
def test_values_of_a_file_are_those_of_the_command_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "server.toml").write_text(f"{line}\n")
    status, said = run("--check-config", "--config", str(tmp_path / "server.toml"))
    assert status == 2
    assert words in said


def test_a_file_may_have_lists_and_one_of_several(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(
        'bind = "127.0.0.1:0"\nallowed-hosts = ["shop.test", "[::1]"]\nforwarded-allow-ips = ["10.0.0.0/8"]\n'
        'reload-dir = ["/a", "/b"]\nuds-permissions = 660\ntimeout-header = 2.5\nthreads = 3\n'
        "reuse-port = true\n"
    )
    assert run("--check-config", "--config", str(tmp_path / "server.toml")) == (0, "")


@pytest.mark.parametrize("option", ["--error-log", "--access-log"])
def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path, option: str) -> None:
    status, said = run("--port", "0", "--control-socket", "none", option, str(tmp_path / "missing" / "log"))
    assert status == 1
    assert said.splitlines() == [f"Error: {option} {tmp_path}/missing/log: No such file or directory"]
    status, said = run("--port", "0", "--control-socket", "none", option, str(tmp_path))
    assert (status, said) == (1, f"Error: {option} {tmp_path}: Is a directory\n")
