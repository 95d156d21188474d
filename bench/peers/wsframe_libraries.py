"""wsframe's Connection once for each library that can compress for it, side by side in one process.

It must not decide which library wsframe takes: it hides the others, and asks wsframe what it took.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import wsframe

# What chooses the library when it is imported, and what rests on that.
CHOOSING = ("wsframe._compressors", "wsframe.deflate", "wsframe.connection")
LIBRARIES = {"zlib": (), "zlib_ng": ("zlib_ng.zlib_ng",), "isal": ("isal.isal_zlib",)}
HIDDEN = ("zlib_ng", "zlib_ng.zlib_ng", "isal", "isal.isal_zlib")


def forms() -> dict[str, tuple[ModuleType, ModuleType]]:
    """The modules `connection` and `deflate` by the library's name, of each that is installed."""
    found = {}
    for name, modules in LIBRARIES.items():
        with _only(modules):
            connection = importlib.import_module("wsframe.connection")
            deflate = importlib.import_module("wsframe.deflate")
        if taken(deflate) == name:
            found[name] = (connection, deflate)
    return found


def taken(deflate: ModuleType) -> str:
    """The library that compresses; before the constant of that name there was one for both directions."""
    name: str = getattr(deflate, "DEFLATE_IMPLEMENTATION", None) or deflate.ZLIB_IMPLEMENTATION
    return name


@contextmanager
def _only(modules: tuple[str, ...]) -> Iterator[None]:
    """With no library to be found but these, and nothing chosen yet; afterwards all is as it was."""
    packages = {module.partition(".")[0] for module in modules}
    before = {name: sys.modules.pop(name, None) for name in (*CHOOSING, *HIDDEN)}
    attributes = {name: getattr(wsframe, name) for name in ("deflate", "connection")}
    for name in HIDDEN:
        if name.partition(".")[0] not in packages:
            sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
        for name, value in attributes.items():
            setattr(wsframe, name, value)
