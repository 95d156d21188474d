"""The public names of both packages, their members and their callables, as they are installed.

It must not know what any of them does.
"""

import inspect
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import python_server
import wsframe
from wsframe import _core, deflate, handshake, sync

PACKAGES = (python_server, wsframe, handshake, deflate, sync)
# What stands in a public class and is no program's to call: the server does, or a test of the package.
NOT_FOR_PROGRAMS = {
    "python_server.EngineServer": {"attach", "mount", "on_message", "session_closed", "session_opened"},
    "python_server.Server": {"mount"},
    "wsframe.Connection": {"decoder_type", "encoder_type", "outbox_type"},
}
CALLED_BY_GUNICORN = {"python_server.GunicornWorker"}
# No program calls their constructors.
MADE_BY_THE_SERVER = CALLED_BY_GUNICORN | {"python_server.WebSocket", "wsframe.sync.ClientConnection"}


def core_interface() -> dict[str, object]:
    """The compiled core as its interface file has it: compiled functions carry no docstrings of theirs."""
    path = Path(wsframe.__file__).with_name("_codec.pyi")
    loader = SourceFileLoader("wsframe._interface", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return {name: getattr(module, name) for name in _core.__all__ if hasattr(module, name)}


def public_names() -> Iterator[tuple[str, object]]:
    """(dotted name, what it is) of everything a program may import."""
    compiled = core_interface()
    for package in PACKAGES:
        for name in getattr(package, "__all__", None) or own_names(package):
            yield f"{package.__name__}.{name}", compiled.get(name) or getattr(package, name)


def own_names(module: ModuleType) -> list[str]:
    """Functions and classes that a module without `__all__` defines."""
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


def public_members(kind: type) -> Iterator[tuple[str, object]]:
    """(name, what it is) of what a class has itself or from a class of these packages."""
    packages = ("python_server", "wsframe")
    members: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.split(".")[0] in packages:
            members |= vars(base)
    for name, member in members.items():
        if not name.startswith("_"):
            yield name, member


def public_callables() -> Iterator[tuple[str, object]]:
    """Functions, classes, and methods of classes, each once by its dotted name."""
    for name, thing in public_names():
        if not callable(thing):
            continue
        yield name, thing
        if not isinstance(thing, type) or name in CALLED_BY_GUNICORN:
            continue
        for member_name, member in public_members(thing):
            function = getattr(member, "__func__", member)
            if inspect.isroutine(function) and member_name not in NOT_FOR_PROGRAMS.get(name, ()):
                yield f"{name}.{member_name}", function
