"""Pages and docstrings: each link leads somewhere, each command and sentence names files that exist.

It must not know what a page says.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "bench/**/*.md", "examples/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if "node_modules" not in page.parts
]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
COMMAND = re.compile(r"\b(?:python3?|pytest|sh) ((?:bench|examples|tests)/[\w./-]+)([^`\n|]*)")
TARGET = re.compile(r"`make ([\w-]+)|^ {4}make ([\w-]+)", re.MULTILINE)
OF_PYTEST = {"--benchmark-json"}

# The first sentence of a test's file names what is tested; a comment sends its reader elsewhere.
SOURCES = [
    path
    for folder in ("python_server", "src", "tests", "bench", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "node_modules" not in path.parts
]
FILES = {path.name for path in SOURCES} | {"_codec.pyx", "setup.py"}
TESTED = re.compile(r"\A\"\"\"[^\n]*\((?=[\w/]*\.py)([^)\n]*)\)")
NAMED = re.compile(r"\b[\w/]+\.py\b")
SENT_TO = re.compile(r"(?:#|^ *[A-Z\"`]).*?\b(?:see|in) `?([\w/]+\.py)\b", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(page.read_text("utf-8")):
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), file
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_can_be_run(page: Path) -> None:
    text = page.read_text("utf-8")
    for file, arguments in COMMAND.findall(text):
        place = ROOT / file
        assert place.exists(), file
        if place.is_file():
            options = set(re.findall(r"--[\w-]+", arguments)) - OF_PYTEST
            assert not {option for option in options if option not in place.read_text("utf-8")}, file
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {first or second for first, second in TARGET.findall(text)} <= targets


def test_sources_name_files_that_exist() -> None:
    missing = []
    looked_at_count = 0
    for path in SOURCES:
        text = path.read_text("utf-8")
        tested = TESTED.match(text)
        names = [*(NAMED.findall(tested[1]) if tested else ()), *SENT_TO.findall(text)]
        looked_at_count += len(names)
        missing += [f"{path.relative_to(ROOT)}: {file}" for file in names if Path(file).name not in FILES]
    assert not missing
    assert looked_at_count > 20


def test_something_is_looked_at() -> None:
    texts = [page.read_text("utf-8") for page in PAGES]
    for pattern in (LINK, COMMAND, TARGET):
        assert sum(len(pattern.findall(text)) for text in texts) > 5
