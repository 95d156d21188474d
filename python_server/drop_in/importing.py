"""Modules under other packages' names: found before the real ones, made of what a table says.

Must not know: any single module of the table, or what its names do.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Final

from python_server.observe import log

OURS: Final = os.path.dirname(__file__)
LIBRARY: Final = sysconfig.get_path("stdlib")
SCRIPTS: Final = sysconfig.get_path("scripts")


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose modules are replaced.

    Attributes:
        by: what takes its place, for the log. lacking: what to do about a name that is not there.
        green: who imports it counts on handlers that are switched only where they wait.
    """

    by: str
    lacking: str
    green: bool = False

    def lack(self, name: str) -> str:
        """What is said to a program that asks for a name which nobody has."""
        return f"{name} ({place_of(caller())}) {self.lacking}"


@dataclass(frozen=True, slots=True)
class Replacer(MetaPathFinder):
    """Finds the modules of a table, as long as it stands first in `sys.meta_path`.

    Attributes:
        packages: by name. table: the modules of these packages; see `drop_in.modules`. homes: where the
            table's names are, looked through in this order.
        on_green: called when the program itself, not an installed package, imports a package that is green.
        seen: the packages imported so far, and where first.
    """

    packages: Mapping[str, Package]
    table: Mapping[str, str]
    homes: Sequence[str]
    on_green: Callable[[], None]
    seen: dict[str, str]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises ModuleNotFoundError: it belongs to a package of the table, and nobody has it."""
        top = name.partition(".")[0]
        package = self.packages.get(top)
        if package is None:
            return None
        self.seen.setdefault(top, place_of(caller()))
        if package.green and not is_installed(caller().f_code.co_filename):
            self.on_green()
        real = self._find_real(name, path) if self.table[top].startswith("real:") else None
        if name in self.table:
            if real is None or real.loader is None:
                return ModuleSpec(name, StandIn(self, package), is_package=True)
            real.loader = StandIn(self, package, real.loader)
        elif real is None:
            # Under another name than the module's: `from package import name` keeps silent about that one.
            raise ModuleNotFoundError(package.lack(name), name=top)
        return real

    def _find_real(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        specs = (finder.find_spec(name, path) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in specs if spec is not None), None)

    def values(self, name: str) -> Iterator[tuple[str, object]]:
        """The names that the table has for a module, with what they stand for."""
        for word in self.table[name].rpartition(":")[2].split():
            theirs, _, ours = word.partition("=")
            missing = object()
            found = (getattr(import_module(home), ours or theirs, missing) for home in self.homes)
            yield theirs, next(value for value in found if value is not missing)


class StandIn(Loader):
    """Makes a module of the table's names: alone, or over those of the module that `real` loads."""

    def __init__(self, replacer: Replacer, package: Package, real: Loader | None = None) -> None:
        self._replacer = replacer
        self._package = package
        self._real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)  # resources, source lines

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None if self._real is None else self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module; one that is only another name for the standard library's becomes that one."""
        name, names = module.__name__, module.__dict__
        if self._real is not None:
            self._real.exec_module(module)
            names.update(self._replacer.values(name))
            return
        own = dict(self._replacer.values(name))
        plain = self._replacer.table[name].rpartition(":")[0]
        if plain not in ("", "real"):
            if not own:
                sys.modules[name] = import_module(plain)
                return
            names |= {key: value for key, value in vars(import_module(plain)).items() if key[:2] != "__"}
        names |= own | {"__getattr__": partial(self._missing, name)}

    def _missing(self, module_name: str, attribute: str) -> object:
        whole = f"{module_name}.{attribute}"
        if whole in self._replacer.table:
            return import_module(whole)
        raise AttributeError(self._package.lack(whole), name=attribute)


def caller() -> FrameType:
    """The innermost frame that is neither ours nor the import system's."""
    frame = sys._getframe(1)
    machinery = (OURS, "<frozen importlib", os.path.join(LIBRARY, "importlib"))
    while frame.f_back is not None and frame.f_code.co_filename.startswith(machinery):
        frame = frame.f_back
    return frame


def is_installed(filename: str) -> bool:
    """Is it a file of the standard library or of a package that was installed, not of the program?"""
    installed = {"site-packages", "dist-packages"}.intersection(filename.split(os.sep))
    return bool(installed) or filename.startswith((LIBRARY, SCRIPTS, "<frozen "))


def place_of(frame: FrameType) -> str:
    """A frame's file and line, those of the program if it is among its callers."""
    found: FrameType | None = frame
    while found is not None and is_installed(found.f_code.co_filename):
        found = found.f_back
    found = found or frame
    return f"{found.f_code.co_filename.removeprefix(os.getcwd() + os.sep)}:{found.f_lineno}"


def warn_once(sentence: str, place: str = "") -> None:
    """A line of the log, once for each place of the program: the one told, or that of the caller."""
    _warn(place or place_of(caller()), sentence)


@lru_cache(maxsize=256)
def _warn(place: str, sentence: str) -> bool:
    log.warn(f"drop-in: {place}: {sentence}")
    return True
