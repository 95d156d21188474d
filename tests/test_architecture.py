"""The page about the architecture, held against the tree: picture, files, methods; words that went.

It must not know what the page says of them.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "python_server"
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = PAGE.with_name("architecture.svg")
DRAW = PAGE.with_name("make_architecture.py")
TEXT = PAGE.read_text("utf-8")

FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md))`")
# `folder/file.py` `Class.method`, across the cell of a table or the end of a line.
NAMED = re.compile(r"`((?:\w+/)+\w+\.py)`\s*\|?\s*`([A-Za-z_]\w*(?:\.\w+)?)`")
CLASS_METHOD = re.compile(r"`([A-Z]\w*\.\w+)`")
FOLDER = re.compile(r"^\| `((?:\w+/)+)`", re.MULTILINE)
PATH = re.compile(r"(?<![\w/.-])((?:[\w-]+/)+[\w-]+\.py)\b")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
TASKS_COUNT = 10
PICTURE_MAX_BYTES = 60_000

# Metaphors that once stood for mechanisms: each has a plain word now.
WORDS = re.compile(
    r"(?<![a-z])"
    r"(mourn|bur(?:y|ied|ies)|bequea\w+|heirs?|hush|former self|rumou?rs?|estates?|crews?|census)"
    r"(?![a-z])",
    re.IGNORECASE,
)


def place(file: str) -> Path | None:
    """Of a file that the page names: below the server, the repository, or the codec."""
    candidates = [SERVER / file, ROOT / file, ROOT / "docs" / file, ROOT / "src" / file]
    candidates.append(ROOT / "src" / "wsframe" / file)
    # `port.py`, in a row that names its folder.
    candidates += [path for path in SERVER.rglob(file) if "/" not in file]
    return next((path for path in candidates if path.is_file()), None)


def names_of(path: Path) -> set[str]:
    """Its classes, their methods, its functions and what it assigns."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("file", sorted(set(FILE.findall(TEXT))))
def test_a_file_that_is_named_exists(file: str) -> None:
    assert place(file) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_other_pages_name_files_that_exist(page: Path) -> None:
    named = set(PATH.findall(page.read_text("utf-8")))
    assert not {file for file in named if place(file) is None}


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(TEXT))))
def test_a_name_stands_in_its_file(file: str, name: str) -> None:
    path = place(file)
    assert path is not None
    assert name in names_of(path)


def test_a_method_that_is_named_alone_exists() -> None:
    known = set().union(*(names_of(path) for path in SERVER.rglob("*.py")))
    named = set(CLASS_METHOD.findall(TEXT)) - {"typing.Protocol"}
    assert len(named) > 20
    assert named <= known


def test_each_folder_has_its_line() -> None:
    folders = {
        f"{path.parent.relative_to(SERVER)}/" for path in SERVER.rglob("__init__.py") if path.parent != SERVER
    }
    assert set(FOLDER.findall(TEXT)) == folders - {"api/flask_socketio/"}


def test_each_task_has_a_file() -> None:
    section = TEXT.partition("## Ten tasks")[2].partition("## ")[0]
    rows = [line for line in section.splitlines() if line.endswith("|") and "?" in line]
    assert len(rows) == TASKS_COUNT
    for row in rows:
        assert FILE.search(row), row


def test_the_picture_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, DRAW, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert PICTURE.stat().st_size < PICTURE_MAX_BYTES


def test_no_metaphor_has_come_back() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in (*SERVER.rglob("*.py"), *ROOT.glob("docs/*.md"))
        for word in WORDS.findall(path.read_text("utf-8"))
    }
    assert not found
