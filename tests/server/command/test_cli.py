"""The command line: what it says and how it exits, asked as a user would ask it.

It must not know how anything is served.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from python_server.serve.loading import ApplicationError, load_application


def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str]:
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


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "web.py").write_text(
        "def app(environ, start_response): ...\nclass site: app = app\nnumber = 5\n"
    )
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nosuch:app", "no module named 'nosuch' (looked for 'nosuch:app' in "),
        ("shop.nosuch:app", "no module named 'shop.nosuch'"),
        ("shop.web:nothing", "module 'shop.web' has no attribute 'nothing'"),
        ("shop", "module 'shop' has no attribute 'app' or 'application'"),
        ("shop.web:number", "shop.web:number is int, which is not callable"),
        (
            "broken:app",
            "importing 'broken' raised ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("raising:app", "importing 'raising' raised ZeroDivisionError: division by zero"),
    ],
)
def test_an_import_string_that_does_not_resolve(app_dir: Path, target: str, words: str) -> None:
    status, said = run(target, "--app-dir", str(app_dir))
    assert status == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert words in last
    assert ("Traceback" in said) == ("raised" in words)  # the application's own fault keeps its traceback


@pytest.mark.parametrize("target", ["shop.web:app", "shop.web", "shop.web:site.app"])
def test_import_strings_that_resolve(app_dir: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load_application(target, str(app_dir)).__name__ == "app"
    for name in ("shop", "shop.web"):
        sys.modules.pop(name, None)


def test_the_error_of_an_import_string_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ApplicationError):
        load_application("nosuch:app", str(tmp_path))


def test_a_busy_port_says_what_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = run("--port", str(port))
    assert status == 1
    assert said.strip().count("\n") == 0
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in said
    assert "--port" in said


def test_options_may_stand_in_the_environment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in run(env={"WSFRAME_PORT": str(port)})[1]


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


def test_a_malformed_allowed_host_is_refused(tmp_path: Path) -> None:
    status, said = run("--allowed-hosts", "shop.test,http://x", "--check-config")
    assert status == 2
    assert "'http://x' is no name of a host" in said
    assert run("--check-config", env={"WSFRAME_ALLOWED_HOSTS": "a b"})[0] == 2
    (tmp_path / "server.toml").write_text('allowed-hosts = "a/b"\n')
    assert run("--check-config", "--config", str(tmp_path / "server.toml"))[0] == 2


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
