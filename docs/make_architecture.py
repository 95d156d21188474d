"""Draws docs/architecture.svg from the imports of python_server; `--check` says whether it is up to date.

It must not know what a folder does: floors and arrows come from the imports, words from the docstrings.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "python_server"
CODEC = ROOT / "src" / "wsframe"
PICTURE = Path(__file__).with_name("architecture.svg")

# Where a box stands on its floor: first and last of 24 columns. All else is computed.
COLUMNS = {
    "gunicorn": (0, 16),
    "__main__": (16, 24),
    "command": (0, 24),
    "drop_in": (0, 24),
    "api": (0, 24),
    "serve": (0, 24),
    "control": (12, 17),
    "monitoring": (1, 9),
    "socketio": (4, 15),
    "machines": (15, 22),
    "engineio": (6, 12),
    "workers": (13, 20),
    "wsgi": (0, 4),
    "websocket": (20, 24),
    "connection": (0, 24),
    "wsframe": (0, 5),
    "http1": (5, 9),
    "net": (9, 17),
    "observe": (17, 24),
    "settings": (9, 17),
    "backplanes": (17, 24),
}
WIDTH = 1040
LEFT = 34  # the numbers of the floors
TOP = 42
GAP = 8  # between boxes
FLOOR_GAP = 26  # where the arrows are seen
PADDING = 9
LINE = 14
TITLE = 17
# Widths of a character at the sizes below: of text a usual one, of a file's name all.
TEXT_CHARACTER = 6.2
FILE_CHARACTER = 6.1

LEGEND = (
    "An arrow: a file of the upper folder imports from the lower one. An arrow that follows from others is "
    "left out (serve/ imports from net/ as well).",
    "A folder stands one floor above the highest that it imports from. "
    "Drawn from the imports by docs/make_architecture.py.",
)
STYLE = """
    svg { font: 11px system-ui, sans-serif; }
    .page { fill: #ffffff; }
    .box { fill: #f3f5f8; stroke: #8a94a3; }
    .inner { fill: #e6eaf0; stroke: #aab2be; }
    .title { fill: #14202e; font-weight: 700; font-size: 13px; }
    .text { fill: #3a4654; }
    .file { fill: #566273; font: 10px ui-monospace, monospace; }
    .floor { fill: #8a94a3; font-size: 13px; }
    .arrow { stroke: #2f6fb3; stroke-width: 1.5; }
    .head { fill: #2f6fb3; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #12161c; }
      .box { fill: #1b222b; stroke: #566273; }
      .inner { fill: #242d38; stroke: #4a5563; }
      .title { fill: #e8edf3; }
      .text { fill: #c0c9d4; }
      .file { fill: #95a1b0; }
      .floor { fill: #6f7b8a; }
      .arrow { stroke: #6fb0f0; }
      .head { fill: #6fb0f0; }
    }
"""


def sources(top: str) -> list[Path]:
    """The files of a folder of the server, of the codec, or the one file of that name."""
    if top == "wsframe":
        return sorted(path for pattern in ("*.py", "*.pyx", "*.h") for path in CODEC.rglob(pattern))
    file = SERVER / f"{top}.py"
    return [file] if file.exists() else sorted((SERVER / top).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The folders whose modules a file imports, wherever in the file."""
    if path.suffix != ".py" or path.is_relative_to(CODEC):
        return  # the codec imports the standard library alone
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "python_server":
                names = [f"python_server.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "wsframe":
                yield package
            elif package == "python_server" and rest.partition(".")[0] in COLUMNS:
                yield rest.partition(".")[0]


def graph() -> dict[str, set[str]]:
    """Folder -> the folders it imports from."""
    tops = {path.name for path in SERVER.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    tops |= {path.stem for path in SERVER.glob("*.py")} - {"__init__"} | {"wsframe"}
    if tops != set(COLUMNS):
        sys.exit(f"docs/make_architecture.py: COLUMNS needs a place for {sorted(tops ^ set(COLUMNS))}")
    return {top: {name for path in sources(top) for name in imported(path)} - {top} for top in COLUMNS}


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        new = edges[left.pop()] - found
        found |= new
        left += new
    return found


def thinned(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that follow from others."""
    return {
        top: {name for name in below if not any(name in reachable(edges, other) for other in below)}
        for top, below in edges.items()
    }


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """Each folder stands one floor above the highest that it imports from."""
    found: dict[str, int] = {}
    while len(found) < len(edges):
        ready = {top for top, below in edges.items() if top not in found and below <= found.keys()}
        if not ready:
            sys.exit(f"folders import each other in a circle: {sorted(edges.keys() - found.keys())}")
        found |= {top: 1 + max((found[name] for name in edges[top]), default=0) for top in ready}
    return {top: found[top] for top in edges}


class Box:
    """One folder, or one file on its own: its words, its files, and boxes of its subfolders.

    Args:
        title: what stands on top. path: of the folder or file. width: in pixels.
    """

    def __init__(self, title: str, path: Path, width: float, files: list[Path]) -> None:
        self.title = title
        self.width = width
        self.x = self.y = 0.0
        head = path / "__init__.py" if path.is_dir() else path
        said = (ast.get_docstring(ast.parse(head.read_text("utf-8"))) or "").partition("\n")[0]
        self.text = wrap(said, int((width - 2 * PADDING) / TEXT_CHARACTER), break_on_hyphens=False)
        own = [file for file in files if file.parent == path and file.name != "__init__.py"]
        names = " ".join(file.name if file.suffix != ".py" else file.stem for file in own)
        self.names = wrap(names, int((width - 2 * PADDING) / FILE_CHARACTER), break_on_hyphens=False)
        folders = sorted({file.parent for file in files if file.parent.parent == path})
        inner = width - 2 * PADDING - GAP * (len(folders) - 1)
        weights = {folder: 2 + sum(file.is_relative_to(folder) for file in files) for folder in folders}
        self.children = [
            Box(
                f"{folder.name}/",
                folder,
                inner * weights[folder] / sum(weights.values()),
                [file for file in files if file.is_relative_to(folder)],
            )
            for folder in folders
        ]
        height = TITLE + LINE * (len(self.text) + len(self.names)) + 2 * PADDING - 4
        self.height = height + (GAP + max(child.height for child in self.children) if self.children else 0)

    def place(self, x: float, y: float, height: float) -> None:
        self.x, self.y, self.height = x, y, height
        left = x + PADDING
        tallest = max((child.height for child in self.children), default=0)
        for child in self.children:
            child.place(left, y + height - PADDING - tallest, tallest)
            left += child.width + GAP

    def svg(self, kind: str = "box") -> Iterator[str]:
        yield (
            f'<rect class="{kind}" x="{self.x:.0f}" y="{self.y:.0f}" width="{self.width:.0f}" '
            f'height="{self.height:.0f}" rx="5"/>'
        )
        x, y = self.x + PADDING, self.y + PADDING + 9
        yield f'<text class="title" x="{x:.0f}" y="{y:.0f}">{escape(self.title)}</text>'
        y += TITLE - LINE + 1
        for kind_of_line, lines in (("text", self.text), ("file", self.names)):
            for line in lines:
                y += LINE
                yield f'<text class="{kind_of_line}" x="{x:.0f}" y="{y:.0f}">{escape(line)}</text>'
        for child in self.children:
            yield from child.svg("inner")


def boxes_of(levels: dict[str, int]) -> tuple[dict[str, Box], dict[int, float]]:
    """The boxes at their places, and the top of each floor."""
    column = (WIDTH - LEFT - GAP) / 24
    boxes, tops, y = {}, {}, float(TOP)
    for level in sorted(set(levels.values()), reverse=True):
        row = {}
        for top in (name for name, number in levels.items() if number == level):
            first, last = COLUMNS[top]
            files = sources(top)
            path = files[0] if len(files) == 1 else CODEC if top == "wsframe" else SERVER / top
            title = f"{top}.py" if len(files) == 1 else f"{top}/"
            row[top] = Box(title, path, (last - first) * column - GAP, [] if len(files) == 1 else files)
        height = max(box.height for box in row.values())
        for top, box in row.items():
            box.place(LEFT + COLUMNS[top][0] * column, y, height)
        boxes |= row
        tops[level] = y
        y += height + FLOOR_GAP
    return boxes, tops


def arrow(above: Box, below: Box, boxes: list[Box]) -> str:
    """Straight down, through no other box."""
    left, right = max(above.x, below.x), min(above.x + above.width, below.x + below.width)
    x = (left + right) / 2
    start, end = above.y + above.height, below.y
    crossed = [box.title for box in boxes if box.x < x < box.x + box.width and start < box.y < end]
    if left >= right or crossed:
        way = f"from {above.title} to {below.title} {crossed}"
        sys.exit(f"docs/make_architecture.py: COLUMNS leaves no straight way {way}")
    return (
        f'<path class="arrow" d="M{x:.0f} {start:.0f}V{end - 7:.0f}"/>'
        f'<path class="head" d="M{x - 5:.0f} {end - 8:.0f}h10l-5 8z"/>'
    )


def picture() -> str:
    edges = graph()
    boxes, tops = boxes_of(floors(edges))
    height = max(box.y + box.height for box in boxes.values()) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">',
        "<title>python_server: its folders, floor by floor, and who imports from whom</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height:.0f}"/>',
        *(
            f'<text class="text" x="{LEFT}" y="{16 + 15 * number}">{line}</text>'
            for number, line in enumerate(LEGEND)
        ),
    ]
    lines += [
        f'<text class="floor" x="12" y="{y + PADDING + 10:.0f}">{level}</text>' for level, y in tops.items()
    ]
    for box in boxes.values():
        lines += box.svg()
    for top, below in thinned(edges).items():
        lines += [arrow(boxes[top], boxes[name], [*boxes.values()]) for name in sorted(below)]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            PICTURE.read_text("utf-8") != picture()
            and "docs/architecture.svg is out of date: python docs/make_architecture.py"
        )
    PICTURE.write_text(picture(), "utf-8")
