"""README as a package index shows it, for setup.py: its links lead to the repository, at this version's tag.

It must not know what README says.
"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]


def with_links(text: str, source: str, version: str) -> str:
    """A version in development has no tag yet."""
    tag = "main" if ".dev" in version else f"v{version}"
    text = re.sub(r"(!\[[^\]]*\]\(|\bsrc=\")(?![a-z]+:|[/#])", rf"\1{source}/raw/{tag}/", text)
    return re.sub(r"(\]\(|\bhref=\")(?![a-z]+:|[/#])", rf"\1{source}/blob/{tag}/", text)


README = {
    "long_description": with_links(
        Path("README.md").read_text("utf-8"), PROJECT["urls"]["Source"], PROJECT["version"]
    ),
    "long_description_content_type": "text/markdown",
}
