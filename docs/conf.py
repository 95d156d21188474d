"""The settings of Sphinx for the site that `make docs` builds of the pages in this folder.

It must not know what a page says.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

import wsframe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from public_names import core_interface

project = "wsframe"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["benchmarks/codec-notes.md"]  # a part of benchmarks/codec.md
smartquotes = False  # they make a dash of the two hyphens of an option
html_theme = "furo"
html_title = "wsframe"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]

# The anchors of headings are those of a code host, where the pages are read as well.
myst_heading_anchors = 4

# One backtick in a docstring is code, as in the pages.
default_role = "literal"
autoclass_content = "both"
napoleon_use_ivar = True  # the members stand below; twice they would be two entries of the search
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# A type of the standard library or of an inner module has no page; a public name must have one.
nitpick_ignore_regex = [(r"py:.*", r"(?!(?:python_server|wsframe)\.\w+$).*")]


ANOTHER_ITEM = re.compile(r"(?<=\.) (?=(?:\w+, )*\w+: )")
# Pages above this folder that the site has too: how the pages name them, and where they are here.
ABOVE = {
    "../SECURITY.md": "reference/security.md",
    "../CHANGELOG.md": "reference/changelog.md",
    "../../python_server/command/errors.md": "errors.md",
}


def lead_to_pages_above(app: Sphinx, name: str, source: list[str]) -> None:
    for path, page in ABOVE.items():
        source[0] = source[0].replace(f"]({path}", f"]({page}")


def make_plain(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Tell reStructuredText what a docstring's reader sees: indented code, and items that share a line."""
    made: list[str] = []
    in_items = False
    for line in lines:
        if line and not line.startswith(" "):
            in_items = line in ("Args:", "Attributes:", "Raises:")
        text_before = next((text for text in reversed(made) if text), "-")
        if line.startswith("    ") and not made[-1] and not text_before.startswith(" "):
            made += [".. code-block:: python", ""]
        made += ANOTHER_ITEM.sub("\n    ", line).split("\n") if in_items else [line]
    lines[:] = made


def set_dashes(app: Sphinx, page: nodes.document) -> None:
    """Between a parameter and its words; the hyphens of options stay what they are."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> None:
    # 400: before Napoleon, which takes a section's indented lines for its own.
    app.connect("autodoc-process-docstring", make_plain, priority=400)
    app.connect("doctree-read", set_dashes)
    app.connect("source-read", lead_to_pages_above)
    for name, thing in core_interface().items():
        setattr(wsframe, name, thing)  # the compiled ones have no docstrings
