"""wsframe's Connection once for each library that can compress for it, side by side in one process.

It must not import a library anew: a second copy of one raises exceptions that nobody knows.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import wsframe

# What has the choice of libraries, and what rests on that.
CHOOSING = ("wsframe.deflate", "wsframe.connection")


def forms() -> dict[str, tuple[ModuleType, ModuleType]]:
    """The modules `connection` and `deflate` by the library's name, of each that is installed.

    Of a commit before there was a choice: of the one that it has taken.
    """
    try:
        compressors = importlib.import_module("wsframe._compressors")
    except ModuleNotFoundError:
        deflate: Any = wsframe.deflate
        return {deflate.ZLIB_IMPLEMENTATION: (importlib.import_module("wsframe.connection"), deflate)}
    libraries = {library.name: library for library in compressors.installed()}
    found = {}
    for name in libraries:
        with _copies() as (connection, deflate):
            deflate._libraries = compressors.Libraries(
                [libraries[key] for key in dict.fromkeys((name, "zlib"))]
            )
            found[name] = (connection, deflate)
    return found


@contextmanager
def _copies() -> Iterator[tuple[ModuleType, Any]]:
    """Modules of their own; afterwards all is as it was."""
    before = {name: sys.modules.pop(name) for name in CHOOSING}
    attributes = {name: getattr(wsframe, name) for name in ("deflate", "connection")}
    try:
        deflate = importlib.import_module("wsframe.deflate")
        yield importlib.import_module("wsframe.connection"), deflate
    finally:
        sys.modules.update(before)
        for name, value in attributes.items():
            setattr(wsframe, name, value)
