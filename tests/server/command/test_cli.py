"""The command line: what it says and how it exits, asked as a user would ask it.

It must not know how anything is served.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from python_server.command import cli
from python_server.command.cli import main, serve_command
from python_server.command.options import DEFAULTS, OPTIONS, read_setting, settable


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
    monkeypatch.setattr(cli, "serve", lambda site, settings, reexec: begun.append(("serve", site, settings)))
    monkeypatch.setattr(cli, "supervise", lambda settings: begun.append(("supervise", None, settings)))
    monkeypatch.setattr(
        cli, "run_reloading", lambda watched, settings: begun.append(("reload", watched, settings))
    )
    monkeypatch.setattr(cli, "reloads", bool)
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


@pytest.mark.parametrize(
    "start", ["runpy.run_module('python_server', run_name='__main__')", "wsframe_start.main()"]
)
def test_the_collector_of_garbage_rests_during_the_imports_alone(start: str) -> None:
    text = (
        "import gc, runpy, sys, wsframe_start\nsys.argv = ['server', '--version']\n"
        f"try: {start}\nexcept SystemExit: print(gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["True"]


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
    said = f"Error: {option} {folder / 'log'}: No such file or directory [log-file]\n"
    assert run(option, str(folder / "log"), "--check-config") == (1, said)
    assert run(option, str(tmp_path), "--check-config") == (
        1,
        f"Error: {option} {tmp_path}: Is a directory [log-file]\n",
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


@pytest.mark.parametrize("check", [(), ("--check-config",), ("--workers", "2"), ("--reload",)])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("[handlers", "Expected"),
        ('[handlers.h]\nclass = "no.such.Class"', "Unable to configure handler 'h'"),
    ],
)
def test_a_logging_configuration_that_is_none_is_one_line(
    tmp_path: Path, begun: list[Any], check: tuple[str, ...], text: str | None, said: str
) -> None:
    path = tmp_path / "log.toml"
    if text is not None:
        path.write_text(text)
    status, line = run("--log-config", str(path), *check)
    assert status == 1
    assert line.startswith(f"Error: --log-config {path}: ")
    assert said in line
    assert line.count("\n") <= 1
    assert begun == []


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("a b", "line 1: expected NAME=value"),
        ("A=b\nWSFRAME_PORT=9000", "line 2: WSFRAME_PORT is read before this file"),
    ],
)
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
        f'reload-dir = ["{tmp_path}", "/"]\nuds-permissions = 660\ntimeout-header = 2.5\nthreads = 3\n'
        "reuse-port = true\n"
    )
    assert run("--check-config", "--config", str(tmp_path / "server.toml")) == (0, "")


@pytest.mark.parametrize("option", ["--error-log", "--access-log"])
def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path, option: str) -> None:
    status, said = run("--port", "0", "--control-socket", "none", option, str(tmp_path / "missing" / "log"))
    assert status == 1
    assert said.splitlines() == [
        f"Error: {option} {tmp_path}/missing/log: No such file or directory [log-file]"
    ]
    status, said = run("--port", "0", "--control-socket", "none", option, str(tmp_path))
    assert (status, said) == (1, f"Error: {option} {tmp_path}: Is a directory [log-file]\n")


MISTYPED: dict[str, tuple[int, str]] = {
    "--port http": (2, "'--port' / '-p': 'http' is not a valid integer."),
    "--prot 1": (2, "No such option '--prot'."),
    "--uds-permissions 999": (
        2,
        "'--uds-permissions': '999' is no permissions: write them as chmod does, 660",
    ),
    "--uds-permissions rw": (2, "'rw' is no permissions"),
    "--host 127.0.0.1:80": (1, "--host '127.0.0.1:80' is more than a host: write --port for a port"),
    "-b localhost:http": (1, "cannot listen on 'localhost:http': write host:port"),
    "--app-dir /no/such": (2, "'--app-dir': there is no folder '/no/such'"),
    "--reload --reload-dir /no/such": (2, "'--reload-dir': there is no folder '/no/such'"),
    "--header X-A": (2, "'--header': 'X-A' is not a header field: write 'Name: value'"),
    "--header Content-Length:3": (2, "'--header': Content-Length is another one with each answer"),
    "--header Upgrade:x": (2, "'--header': Upgrade is a hop-by-hop header"),
    "--set http.trailer_max_bytes": (2, "'--set': 'http.trailer_max_bytes': write NAME=VALUE"),
    "--set http.trailer_max_byte=1": (
        2,
        "for --set: did you mean http.trailer_max_bytes? [unknown-option]",
    ),
    "--set http.body_max_bytes=1": (
        2,
        "there is no setting 'http.body_max_bytes' for --set: write --limit-body",
    ),
    "--set nothing_like_this=1": (2, "docs/limits.md has them [unknown-option]"),
    "--set tls.context=1": (2, "there is no setting 'tls.context' for --set"),
    "--set http.trailer_max_bytes=0": (2, "http.trailer_max_bytes: 0 is not in the range x>=1."),
    "--set http.trailer_max_bytes=8k": (2, "http.trailer_max_bytes: '8k' is not a valid integer."),
    "--set idle_grace_seconds=nan": (2, "idle_grace_seconds: 'nan' is no number of seconds."),
    "--set transport.high_watermark_bytes=1": (
        2,
        "low_watermark_bytes is above transport.high_watermark_bytes",
    ),
    "--forwarded-allow-ips proxy": (2, "--forwarded-allow-ips: 'proxy' is no address or network"),
    "--access-log-format %(zz)s": (2, "--access-log-format: access log format '%(zz)s': unknown atom"),
    "--root-path https://shop.test": (2, "--root-path: 'https://shop.test' is no path: write /shop"),
    "--env-file /no/such": (1, "--env-file /no/such: No such file or directory [env-file]"),
    "--env-file {binary}": (1, "--env-file {binary}: it is no text in UTF-8 [env-file]"),
    "--config {binary}": (2, "'--config': {binary} is not TOML"),
    "--config {misspelt}": (
        2,
        "{misspelt}: there is no option 'limit_bodies', did you mean limit-body? [unknown-option]",
    ),
    "--ssl-certfile /no/such": (
        1,
        "cannot read /no/such (--ssl-certfile): No such file or directory [certificate]",
    ),
    "--pid /no/such/pid": (
        1,
        "cannot write the process id to /no/such/pid (--pid): No such file or directory [pid-file]",
    ),
    "--uds /no/such/s": (1, "cannot listen on unix:/no/such/s: there is no folder /no/such [socket-path]"),
    "--ssl-cert-reqs required": (
        2,
        "--ssl-certfile: without a certificate no TLS is spoken, and no client shows one [certificate]",
    ),
    "--factory": (2, "--factory: of what application? Write module:create_app"),
    "--header X-A:\u20ac": (2, "a field is ASCII"),
    "--set =3": (2, "there is no setting '' for --set: docs/limits.md"),
    "./quiz.py": (
        2,
        "./quiz.py is a script: write quiz:app, or add --drop-in to run it as it stands [script]",
    ),
    "shop/web.py": (2, "write --app-dir shop web:app, or"),
    ":app": (1, "':app' names no module: write module:app [no-module]"),
}


@pytest.mark.parametrize(("typed", "answer"), MISTYPED.items(), ids=MISTYPED)
def test_who_typed(tmp_path: Path, typed: str, answer: tuple[int, str]) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe=1")
    (tmp_path / "misspelt").write_text("limit_bodies = 1")
    places = {name: str(tmp_path / name) for name in ("binary", "misspelt")}
    code, words = answer
    status, said = run("--check-config", *typed.format(**places).split())
    assert (status, words.format(**places) in said) == (code, True), said
    assert [line for line in said.splitlines() if line.startswith("Error: ")] == [said.splitlines()[-1]]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("WSFRAME_PROT", "WSFRAME_PORT"),
        ("WSFRAME_ALLOWED_HOST", "WSFRAME_ALLOWED_HOSTS"),
        ("WSFRAME_LOGLEVEL", "WSFRAME_LOG_LEVEL"),
        ("WSFRAME_THREAD", "WSFRAME_THREADS"),
    ],
)
def test_who_misspelt_a_variable(begun: list[Any], typed: str, meant: str) -> None:
    status, said = run(env={typed: "9"})
    assert status == 2
    assert said.endswith(
        f"Error: {typed} in the environment is no option, did you mean {meant}? [unknown-option]\n"
    )
    assert begun == []


# Of this program's own, of an installation, of Kubernetes for a service of our name.
@pytest.mark.parametrize(
    "variable",
    [
        "WSFRAME_RELOADER",
        "WSFRAME_PURE",
        "WSFRAME_SERVICE_HOST",
        "WSFRAME_SERVICE_PORT",
        "WSFRAME_PORT_80_TCP",
    ],
)
def test_other_variables_are_nobodys_mistake(begun: list[Any], variable: str) -> None:
    assert run(env={variable: "9"})[0] == 0
    assert len(begun) == 1


def test_a_mistake_in_the_environment_names_its_variable() -> None:
    status, said = run(env={"WSFRAME_PORT": "tcp://10.0.0.1:80"})
    assert status == 2
    assert "WSFRAME_PORT in the environment ('--port' / '-p'): 'tcp://10.0.0.1:80' is not a valid int" in said
    assert "environment" not in run("--port", "x")[1]


def test_wsframe_alone_shows_its_help() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert "serve " in result.output
    assert CliRunner().invoke(main, ["--help"]).output == result.output


@pytest.mark.parametrize("typed", ["quiz:app --port 9000", "quiz.py"])
def test_who_left_serve_out(typed: str) -> None:
    result = CliRunner().invoke(main, typed.split())
    assert result.exit_code == 2
    assert f"Write: wsframe serve {typed}\n" in result.output
    for unknown in ("run", "serv"):
        assert f"Write: wsframe serve {typed}\n" in CliRunner().invoke(main, [unknown, *typed.split()]).output
    emitted = (
        CliRunner().invoke(main, ["emitt", "news", '{"at": 1}', "--control-socket", "http://x:1"]).output
    )
    assert "Did you mean 'emit'?" in emitted
    assert "Did you mean 'serve'?" in CliRunner().invoke(main, ["serv"]).output


def test_the_help_names_the_variables() -> None:
    shown = " ".join(CliRunner().invoke(serve_command, ["--help"]).output.split())
    for option in OPTIONS:
        assert f"env var: {', '.join((option.environment, *option.other_environment))}" in shown
    assert "env var: WSFRAME_CONFIG" in shown


def test_settings_of_the_page_of_limits_reach_the_server(begun: list[Any], tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "limits.md").read_text("utf-8")
    rows = re.findall(r"^\|[^|\n]*\| ([^|\n]*) \|[^|\n]*\| (`--set`|in code)", page, re.MULTILINE)
    names = [name.strip("`") for name, how in rows if how == "`--set`"]
    assert len(names) > 10
    assert not {name.strip("`") for name, how in rows if how == "in code"} & set(dict(settable(DEFAULTS)))
    values = {name: "2.5" if name.endswith("_seconds") else "300000" for name in names}
    arguments = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    assert run(*arguments) == (0, "")
    ((_, _, settings),) = begun
    assert {name: f"{read_setting(settings, name):g}" for name in names} == {
        name: f"{float(value):g}" for name, value in values.items()
    }
    (tmp_path / "server.toml").write_text('set = ["idle_grace_seconds=3", "server_name = shop.test"]')
    assert run("--config", str(tmp_path / "server.toml"), env={"WSFRAME_SET": ""})[0] == 0
    assert (begun[1][2].idle_grace_seconds, begun[1][2].server_name) == (3.0, "shop.test")
    assert run(env={"WSFRAME_SET": "idle_grace_seconds=4\nhttp.trailer_max_bytes=5"})[0] == 0
    assert (begun[2][2].idle_grace_seconds, begun[2][2].http.trailer_max_bytes) == (4.0, 5)


def test_fields_of_every_response(begun: list[Any]) -> None:
    assert run("--header", "X-A: b c", "--header", "x-d:e", "--no-server-header")[0] == 0
    assert run(env={"WSFRAME_HEADER": "X-A: b c\nx-d:e", "WSFRAME_SERVER_HEADER": "0"})[0] == 0
    for _, _, settings in begun:
        assert (settings.headers, settings.server_header) == (("X-A: b c", "x-d:e"), False)


def test_the_error_log_s_dash_is_standard_error(begun: list[Any]) -> None:
    run("--error-log", "-")
    assert begun[0][2].error_log is None


def test_what_is_watched(begun: list[Any], tmp_path: Path) -> None:
    arguments = (
        "--reload",
        "--reload-include",
        "*.html",
        "--reload-exclude",
        "tests",
        "--app-dir",
        str(tmp_path),
    )
    assert run(*map(str, arguments))[0] == 0
    ((_, watched, _),) = begun
    assert watched.folders == [str(tmp_path)]
    assert (watched.included, watched.ignored) == (["*/*.html", "*/*.html/*"], ["*/tests", "*/tests/*"])


def test_a_value_that_ends_as_a_script_does_is_none(begun: list[Any]) -> None:
    """Everything behind it was taken for a script's arguments, and dropped."""
    assert run("--reload", "--reload-exclude", "*_test.py", "--port", "9000")[0] == 0
    ((_, watched, settings),) = begun
    assert (watched.ignored, settings.port) == (["*/*_test.py", "*/*_test.py/*"], 9000)


def printed(*arguments: str, env: dict[str, str] | None = None) -> list[str]:
    result = CliRunner().invoke(serve_command, ["--print-config", *arguments], env=env)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_print_config_tells_each_value_with_its_source(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text('threads = 3\nlog-level = "debug"\n')
    lines = printed(
        *("quiz:app", "--config", str(config), "--port", "9000", "--header", "X-A: b"),
        env={
            "WSFRAME_LOG_LEVEL": "error",
            "WEB_CONCURRENCY": "2",
            "WSFRAME_SSL_KEYFILE_PASSWORD": "sesame",
            "WSFRAME_CLUSTER_SECRET": "sesame too",
            "WSFRAME_OTHER_WORD": "1",
        },
    )
    for line in (
        'target = "quiz:app"  # command line',
        "port = 9000  # command line",
        f"threads = 3  # {config}",
        'log-level = "error"  # environment, WSFRAME_LOG_LEVEL',
        "workers = 2  # environment, WEB_CONCURRENCY",
        'host = "127.0.0.1"  # default',
        "# uds =   # default",
        "uds-permissions = 600  # default",
        'header = ["X-A: b"]  # command line',
        "reuse-port = false  # default",
        "# ssl-keyfile-password = ...  # environment, WSFRAME_SSL_KEYFILE_PASSWORD",
        "# cluster-secret = ...  # environment, WSFRAME_CLUSTER_SECRET",
        "# WSFRAME_OTHER_WORD in the environment is no option",
    ):
        assert line in lines
    assert "sesame" not in "".join(lines)
    assert len(lines) == len(OPTIONS) - 2 + 1 + 1  # without what the command does; the target; the other word


def test_what_print_config_prints_is_a_file_for_config(tmp_path: Path) -> None:
    given = (
        "--host",
        "0.0.0.0",
        "--uds-permissions",
        "660",
        "--header",
        'X-A: "b"',
        "--set",
        "server_name=a",
    )
    lines = printed("quiz:app", *given, "--reload-exclude", "a b", "--timeout-header", "2.5", "--factory")
    (tmp_path / "server.toml").write_text("\n".join(lines))
    again = printed("--config", str(tmp_path / "server.toml"))
    assert [line.partition("  # ")[0] for line in again] == [line.partition("  # ")[0] for line in lines]


def test_print_config_refuses_as_the_server_does() -> None:
    assert run("--print-config", "--allowed-hosts", "a b")[0] == 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("wsframe se", "serve"), ("wsframe serve --max-requests-j", "--max-requests-jitter")],
)
def test_the_shell_completes_as_the_page_of_deployment_says(typed: str, offered: str) -> None:
    script = Path(sys.executable).with_name("wsframe")

    def asked(instruction: str, **variables: str) -> str:
        env = {**os.environ, "_WSFRAME_COMPLETE": instruction, **variables}
        return subprocess.run(
            [script], capture_output=True, text=True, timeout=120, check=True, env=env
        ).stdout

    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    assert asked("bash_complete", **words) == f"plain,{offered}\n"
    assert "_WSFRAME_COMPLETE=zsh_complete" in asked("zsh_source")
