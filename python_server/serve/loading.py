"""Finding an application by its import string, and refusing what cannot run here in one sentence.

Must not know: options, settings, how anything is served.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from python_server.net.monkey_patch import PatchedError, refuse_patched
from python_server.net.tasks import is_async
from python_server.serve.mounts import layers
from python_server.wsgi.environ import Application

DEFAULT_NAMES: Final = ("app", "application")
FACTORY_NAMES: Final = ("create_app", "make_app")
# A message of ours ends with what `wsframe explain` knows of it, wherever it is raised.
CODED: Final = re.compile(r" \[[a-z]+(-[a-z]+)+\]$")
FOREIGN_MODES: Final = ("eventlet", "gevent", "gevent_uwsgi")


class ApplicationError(Exception):
    """The application cannot be found or cannot run here; the message is one line for its owner."""


def load_application(target: str, app_dir: str, *, factory: bool = False) -> Application:
    """The object that `module:attribute` names.

    Without an attribute it is `app`, `application`, or what `create_app()` or `make_app()` return. An
    attribute that ends with `()` is called, as `factory` asks for.

    Args:
        app_dir: folder that goes to the front of the path. factory: call the object to get the application.

    Raises:
        ApplicationError: it cannot be found, cannot be called, or cannot run here.
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    module_name, _, attribute = target.partition(":")
    if not all(module_name.split(".")) or "/" in module_name or module_name.endswith(".py"):
        raise ApplicationError(f"{target!r} names no module: write {import_string(target)} [no-module]")
    module = _import(module_name, target, app_dir)
    plain = attribute.removesuffix("()")
    application, name, is_factory = _find(module, module_name, plain, target)
    shown = f"{module_name}:{name}"
    if factory or is_factory or plain != attribute:
        application, shown = _made(application, shown), f"what {shown}() returns"
    elif not callable(application):
        raise ApplicationError(
            f"{shown} is {_with_article(application)}, which is not callable"
            f"{_instead(module, module_name)} [no-application]"
        )
    refuse_foreign(application)
    # Nobody gives an environ a default; a wrapper that takes anything (*args) does not say what it is.
    is_factory = _takes(application) and not _takes(application, *range(9))
    if is_factory or not _takes(application, {}, None):
        hint = f": if it returns one, write {shown}() or add --factory" if is_factory else ""
        raise ApplicationError(
            f"{shown} is not a WSGI application, it cannot be called with (environ, start_response)"
            f"{hint} [no-application]"
        )
    loaded: Application = application
    return loaded


def import_string(path: str) -> str:
    """What to type for a program that was named by its path: "--app-dir shop web:app" for "shop/web.py"."""
    place, _, attribute = path.partition(":")
    folder, name = os.path.split(place.removesuffix(".py"))
    folder = os.path.normpath(folder or os.curdir)
    chosen = "" if folder == os.curdir else f"--app-dir {folder} "
    return f"{chosen}{name.strip('.') or 'module'}:{attribute or 'app'}"


def _takes(function: Any, *arguments: object) -> bool:
    """May it be called so, as far as it says?"""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, it says nothing
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _made(factory: Any, shown: str) -> object:
    """What a factory returns."""
    if callable(factory) and not _takes(factory):
        if _takes(factory, {}, None):
            raise ApplicationError(f"{shown} is the application itself: leave --factory out")
        wanted = ", ".join(inspect.signature(factory).parameters)
        raise ApplicationError(
            f"{shown}({wanted}) wants arguments, and is called without any: "
            "name a function that takes none and returns the application [no-application]"
        )
    try:
        made = factory()
    except Exception as error:
        traceback.print_exception(error)
        said = _coded(error, " [application-failed]")
        raise ApplicationError(f"{shown}() raised {type(error).__name__}: {said}") from None
    if not callable(made):
        raise ApplicationError(
            f"{shown}() returned {_with_article(made)}, and not an application [no-application]"
        )
    return made


def _with_article(thing: object) -> str:
    name = type(thing).__name__
    return "None" if thing is None else f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _instead(module: ModuleType, module_name: str) -> str:
    """What the module has that can be served."""
    found = [
        name
        for name, value in vars(module).items()
        if callable(value) and hasattr(value, "wsgi_app") and not isinstance(value, type)
    ]
    return f": write {module_name}:{found[0]}" if found else ""


# Packages that applications import, and how they come by them.
MISSING: Final = {
    "flask": 'pip install "wsframe[flask]"',
    "redis": 'pip install "wsframe[redis]"',
} | dict.fromkeys(
    ("eventlet", "gevent", "geventwebsocket", "flask_socketio"),
    "--drop-in serves it with our own in that place",
)


def _import(module_name: str, target: str, app_dir: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            near = get_close_matches(module_name, [path.stem for path in Path(app_dir).glob("*.py")], 1)
            meant = f"{near[0]}:{target.partition(':')[2] or 'app'}" if near else ""
            hint = f"did you mean {meant}?" if near else "write module:app"
            raise ApplicationError(
                f"no module named {error.name!r} (looked for {target!r} in {app_dir}); {hint} [no-module]"
            ) from None
        failed: Exception = error  # the module is there; something it imports is not
        if error.name in MISSING and MISSING[error.name] not in str(error):
            failed = ModuleNotFoundError(f"{error}; {MISSING[error.name]}")
    except Exception as error:
        failed = error
    traceback.print_exception(failed)  # the application's own fault
    missing = isinstance(failed, ModuleNotFoundError)
    said = _coded(failed, " [missing-package]" if missing else " [application-failed]")
    raise ApplicationError(f"importing {module_name!r} raised {type(failed).__name__}: {said}")


def _coded(error: Exception, code: str) -> str:
    said = str(error)
    return said if CODED.search(said) else said + code


def _find(module: ModuleType, module_name: str, attribute: str, target: str) -> tuple[Any, str, bool]:
    names = (attribute,) if attribute else (*DEFAULT_NAMES, *FACTORY_NAMES)
    for name in names:
        found: Any = module
        try:
            for part in name.split("."):
                found = getattr(found, part)
        except AttributeError:
            continue
        return found, name, not attribute and name in FACTORY_NAMES
    wanted = repr(attribute) if attribute else " or ".join(map(repr, DEFAULT_NAMES))
    near = get_close_matches(attribute, [name for name, value in vars(module).items() if callable(value)], 1)
    hint = f": write {module_name}:{near[0]}" if near else _instead(module, module_name)
    if "(" in attribute:
        hint = ": a factory is called without arguments, name a function that takes none"
    raise ApplicationError(
        f"module {module_name!r} has no attribute {wanted} (looked for {target!r}){hint} [no-application]"
    )


def refuse_foreign(application: object) -> None:
    """Refuse what needs another kind of server.

    Raises:
        ApplicationError: an ASGI application, a Socket.IO server in gevent or eventlet mode, or a process
            that was monkey-patched.
    """
    if is_async(application):
        raise ApplicationError(
            f"{type(application).__name__} is an ASGI application; this server runs WSGI: "
            "use uvicorn for it, or serve its WSGI counterpart (WSGIApp, get_wsgi_application) "
            "[asgi-application]"
        )
    for part in _parts(application):
        mode = _async_mode(part)
        if mode in FOREIGN_MODES:
            raise ApplicationError(
                f"its Socket.IO server has async_mode={mode!r}, but this server has 'threading' "
                "alone: set async_mode='threading', or start it unchanged with --drop-in [async-mode]"
            )
    try:
        refuse_patched()
    except PatchedError as error:
        raise ApplicationError(str(error)) from None


def _parts(application: object) -> Iterator[object]:
    """The application, what it wraps, and what its extensions hold."""
    for layer in layers(application):
        yield layer
        yield from getattr(layer, "extensions", {}).values()
        yield getattr(layer, "engineio_app", None)


def _async_mode(thing: Any) -> object:
    try:
        return thing.async_mode
    except Exception:  # an extension's attribute may be anything, a property that fails included
        return None


def other_python_server() -> Path | None:
    """Another package of our import name on the path, such as PyPI's `python-server`."""
    ours = Path(__file__).resolve().parent
    for entry in sys.path:
        folder = Path(entry or os.curdir)
        for candidate in (folder / "python_server.py", folder / "python_server" / "__init__.py"):
            if (
                os.access(candidate, os.R_OK)  # a folder of the path may be closed to this user
                and candidate.is_file()
                and candidate.resolve().parent != ours
                and ('DISTRIBUTION: Final = "wsframe"' not in candidate.read_text("utf-8", "replace"))
            ):
                return candidate
    return None


def with_debugger(application: Application, *, evalex: bool = True, host: str | None = None) -> Application:
    """Werkzeug's debugger around an application: tracebacks with a console in the browser.

    Flask hands exceptions on to it in debug mode alone. The PIN stands before the console; Werkzeug would
    print it under a reloader alone.

    Args:
        evalex: with a console. host: opens its pages, beside localhost.
    """
    try:
        from werkzeug.debug import DebuggedApplication
    except ImportError:
        raise ApplicationError(
            "--debug needs Werkzeug's debugger: pip install werkzeug (Flask brings it) [missing-package]"
        ) from None
    flask = sys.modules.get("flask")
    for layer in layers(application):
        if flask is not None and isinstance(layer, flask.Flask):
            layer.debug = True
    debugged = DebuggedApplication(application, evalex=evalex, pin_logging=False)
    if host is not None:
        getattr(debugged, "trusted_hosts", []).append(host)  # Werkzeug asks for one since 3.0.3
    pin = " disabled: whoever opens the page runs code here" if debugged.pin is None else f": {debugged.pin}"
    print(f" * Debugger is active!\n * Debugger PIN{pin}", file=sys.stderr, flush=True)
    return debugged
