"""`wsframe explain`: what it prints, and that messages and explanations have the same codes.

It must not know what a message is about.
"""

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest
import trustme
from click.testing import CliRunner, Result

from python_server.command.cli import main
from python_server.command.explain import sections

ROOT = Path(__file__).resolve().parents[3]
CODE = re.compile(r"(?:^| )\[([a-z][a-z-]*)\]$")
COMMAND = re.compile(r"^ {4}(.+)$", re.MULTILINE)
COMMANDS = [shlex.split(command) for said in sections().values() for command in COMMAND.findall(said)]
SERVE = [command[2:] for command in COMMANDS if command[:2] == ["wsframe", "serve"]]
# They replace modules for good, or end by themselves: their words alone are tried.
ONLY_READ = {"--drop-in", "--help"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="wsframe")


def codes_of(source: str) -> set[str]:
    """Those at the end of a text that is no docstring."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        found[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
        if (found := CODE.search(node.value))
    }


def test_a_code_is_told_from_other_words_in_brackets() -> None:
    assert codes_of('raise ValueError(f"{name} is taken: stop it [name-taken]")') == {"name-taken"}
    assert codes_of('"""A docstring [no-code]"""\nwords = "pip install wsframe[flask]"') == set()


def test_each_code_has_a_section_and_each_section_a_message() -> None:
    in_source = set().union(
        *(codes_of(path.read_text("utf-8")) for path in (ROOT / "python_server").rglob("*.py"))
    )
    explained = sections().keys()
    assert sorted(in_source - explained) == [], (
        "write a section `## code` into python_server/command/errors.md"
    )
    assert sorted(explained - in_source) == [], (
        "no message ends with this code: take its section out of errors.md"
    )
    assert list(explained) == sorted(explained)


@pytest.mark.parametrize("code", sections())
def test_a_section_says_what_has_happened_its_cause_and_its_mend(code: str) -> None:
    what, cause, mend, *_ = sections()[code].split("\n\n")
    assert "\n" not in what
    assert cause.startswith("Cause: ")
    assert mend.startswith("Mend: ")


@pytest.mark.parametrize(
    "given",
    [
        ["port-in-use"],
        ["[port-in-use]"],
        ["PORT-IN-USE"],
        ["Error: cannot listen on 127.0.0.1:80: ... with --port [port-in-use]"],
        ["choose", "another", "with", "--port", "[port-in-use]"],
    ],
)
def test_a_code_is_explained_with_or_without_its_brackets_and_message(given: list[str]) -> None:
    result = run("explain", *given)
    assert result.exit_code == 0
    assert result.stdout == f"port-in-use: {sections()['port-in-use']}\n"
    assert "wsframe serve shop:app --port 8001" in result.stdout


def test_without_a_code_each_has_its_line() -> None:
    lines = run("explain").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(sections())
    assert "port-in-use" in lines[list(sections()).index("port-in-use")]
    assert "Another program listens on the port." in "\n".join(lines)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("prot-in-use", "did you mean port-in-use?"),
        ("E42", "`wsframe explain` lists all"),
        ("", "`wsframe explain` lists all"),
    ],
)
def test_an_unknown_code_names_the_nearest(given: str, meant: str) -> None:
    result = run("explain", given)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: there is no code {given.lower()!r}: {meant}"


def test_help_says_what_the_brackets_are_for() -> None:
    assert "wsframe explain CODE" in run("--help").stdout


def test_a_message_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # what loading an application leaves behind
    result = run("serve", "no_such_module_here:app")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.endswith(" [no-module]")
    assert run("explain", last.split()[-1]).exit_code == 0


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder that the commands are typed in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    modules = ("shop", "mysite", "mysite.wsgi")
    program = "def app(environ, start_response): ...\ndef create_app(): return app\n"
    for name in ("shop.py", "mysite/wsgi.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(program + "application = app\n")
    Path("app.env").write_text("SHOP_NAME=shop\n")
    Path("server.toml").write_text("port = 8000\n")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path("key.pem")
    certificate.cert_chain_pems[0].write_to_path("cert.pem")
    authority.cert_pem.write_to_path("ca.pem")
    monkeypatch.setenv("SHOP_NAME", "")  # what --env-file puts there is taken back
    yield
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("arguments", [words for words in SERVE if ONLY_READ.isdisjoint(words)], ids=" ".join)
def test_a_command_that_mends_is_accepted(arguments: list[str]) -> None:
    result = run("serve", *arguments, "--check-config")
    assert result.exit_code == 0, result.output


def test_the_other_commands_of_ours_exist() -> None:
    looked_at_count = 0
    for words in COMMANDS:
        if (words[0] == "wsframe" and words[2:] not in SERVE) or not ONLY_READ.isdisjoint(words):
            looked_at_count += 1
            with suppress(click.exceptions.Exit):
                main.commands[words[1]].make_context(words[1], words[2:])
    assert looked_at_count > 5


def test_the_extras_that_are_to_be_installed_exist() -> None:
    extras = {
        extra for words in COMMANDS for word in words for extra in re.findall(r"wsframe\[(\w+)\]", word)
    }
    assert extras
    assert extras <= set(metadata("wsframe").get_all("Provides-Extra") or ())
