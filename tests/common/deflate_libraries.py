"""permessage-deflate as it is where other libraries are installed than here.

It must not know what they compress.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from wsframe import deflate
from wsframe._compressors import Libraries, installed

# Each by itself beside the standard library's, which is always there, and both.
TOGETHER = ("isal zlib_ng zlib", "isal zlib", "zlib_ng zlib", "zlib")


@contextmanager
def only_installed(names: str) -> Iterator[Libraries]:
    """Within it messages are compressed and decompressed with these alone."""
    found = {library.name: library for library in installed()}
    missing = set(names.split()) - found.keys()
    if missing:  # an environment without the test group: wheels are tried in such a one
        pytest.skip(f"not installed here: {', '.join(sorted(missing))}")
    libraries = Libraries([found[name] for name in names.split()])
    with patch.object(deflate, "_libraries", libraries):
        yield libraries
