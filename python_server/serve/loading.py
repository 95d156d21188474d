"""Finding an application by its import string, and refusing what cannot run here in one sentence.

Must not know: options, settings, how anything is served.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from python_server.net.monkey_patch import PatchedError, refuse_patched
from python_server.net.tasks import is_async
from python_server.serve.mounts import layers
from python_server.wsgi.environ import Application

DEFAULT_NAMES: Final = ("app", "application")
FACTORY_NAMES: Final = ("create_app", "make_app")
FOREIGN_MODES: Final = ("eventlet", "gevent", "gevent_uwsgi")


class ApplicationError(Exception):
    """The application cannot be found or cannot run here; the message is one line for its owner."""


def load_application(target: str, app_dir: str, *, factory: bool = False) -> Application:
    """The object that `module:attribute` names.

    Without an attribute it is `app`, `application`, or what `create_app()` or `make_app()` return.

    Args:
        app_dir: folder that goes to the front of the path. factory: call the object to get the application.

    Raises:
        ApplicationError: it cannot be found, cannot be called, or cannot run here.
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    module_name, _, attribute = target.partition(":")
    module = _import(module_name, target, app_dir)
    application, name, is_factory = _find(module, module_name, attribute, target)
    if factory or is_factory:
        try:
            application = application()
        except Exception as error:
            traceback.print_exception(error)
            raise ApplicationError(f"{module_name}:{name}() raised {type(error).__name__}: {error}") from None
    if not callable(application):
        raise ApplicationError(f"{module_name}:{name} is {type(application).__name__}, which is not callable")
    refuse_foreign(application)
    loaded: Application = application
    return loaded


# What `--drop-in` has in the place of packages that need not be installed.
STOOD_IN_FOR: Final = frozenset({"eventlet", "gevent", "geventwebsocket", "flask_socketio"})


def _import(module_name: str, target: str, app_dir: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ApplicationError(
                f"no module named {error.name!r} (looked for {target!r} in {app_dir}); write module:attribute"
            ) from None
        failed: Exception = error  # the module is there; something it imports is not
        if error.name in STOOD_IN_FOR:
            failed = ModuleNotFoundError(f"{error}; --drop-in serves it with our own in that place")
    except Exception as error:
        failed = error
    traceback.print_exception(failed)  # the application's own fault
    raise ApplicationError(f"importing {module_name!r} raised {type(failed).__name__}: {failed}")


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
    raise ApplicationError(f"module {module_name!r} has no attribute {wanted} (looked for {target!r})")


def refuse_foreign(application: object) -> None:
    """Refuse what needs another kind of server.

    Raises:
        ApplicationError: an ASGI application, a Socket.IO server in gevent or eventlet mode, or a process
            that was monkey-patched.
    """
    if is_async(application):
        raise ApplicationError(
            f"{type(application).__name__} is an ASGI application; this server runs WSGI: "
            "use uvicorn for it, or serve its WSGI counterpart (WSGIApp, get_wsgi_application)"
        )
    for part in _parts(application):
        mode = _async_mode(part)
        if mode in FOREIGN_MODES:
            raise ApplicationError(
                f"its Socket.IO server has async_mode={mode!r}, which needs a server of its own: "
                "set async_mode='threading', or serve it as it stands with --drop-in"
            )
    try:
        refuse_patched()
    except PatchedError as error:
        raise ApplicationError(f"{error}; or serve it as it stands with --drop-in") from None


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
                candidate.is_file()
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
            "--debug needs Werkzeug's debugger: pip install werkzeug (Flask brings it)"
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
