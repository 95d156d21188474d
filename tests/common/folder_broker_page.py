"""The package that docs/how-to/backplane.md has in whole, as it is installed: its module and its entry point.

It must not know what is said through it.
"""

from pathlib import Path

from page_blocks import blocks_of

PAGE = "docs/how-to/backplane.md"
METADATA = "Metadata-Version: 2.1\nName: folder-broker\nVersion: 1.0\n"


def install_folder_broker(site: Path) -> str:
    """Into a folder of modules; returns the page's test file."""
    (toml,) = blocks_of(PAGE, "toml")
    module, tests = blocks_of(PAGE, "python")
    (site / "folder_broker.py").write_text(module)
    information = site / "folder_broker-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(METADATA)
    (line,) = [line for line in toml.splitlines() if line.startswith("folder = ")]
    (information / "entry_points.txt").write_text(f"[wsframe.backplanes]\n{line.replace(chr(34), '')}\n")
    return tests
