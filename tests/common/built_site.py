"""The built site: every public name is in its search, every link within it leads somewhere.

It must not know how the site is built.

    .venv/bin/python tests/common/built_site.py build/docs
"""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from public_names import public_callables, public_names

START = "Search.setIndex("
# What Sphinx makes of its own accord; its links are within it.
FURNITURE = ("genindex.html", "py-modindex.html", "search.html")


class Page(HTMLParser):
    """The anchors of a page and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.add(value)


def searched_names(folder: Path) -> set[str]:
    """The dotted names that the search field finds."""
    text = (folder / "searchindex.js").read_text("utf-8")
    index = json.loads(text.removeprefix(START).rstrip(";\n").removesuffix(")"))
    return {f"{prefix}.{entry[4]}" for prefix, entries in index["objects"].items() for entry in entries}


def broken_links(folder: Path) -> list[str]:
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for target in sorted(page.targets):
            if ":" in target.split("/")[0] or target.startswith("//") or path.name in FURNITURE:
                continue
            file, _, anchor = target.partition("#")
            place = (path.parent / unquote(file.partition("?")[0])).resolve() if file else path
            found = place.exists() and (not anchor or place not in pages or anchor in pages[place].anchors)
            if not found:
                broken.append(f"{path.relative_to(folder)}: {target}")
    return broken


def main(folder: Path) -> int:
    wanted = {name for names in (public_names(), public_callables()) for name, _ in names}
    faults = [f"the search does not find {name}" for name in sorted(wanted - searched_names(folder))]
    faults += [f"a link leads nowhere: {link}" for link in broken_links(folder.resolve())]
    for fault in faults:
        print(fault)
    print(f"{len(wanted)} public names, {len(faults)} faults")
    return 1 if faults or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
