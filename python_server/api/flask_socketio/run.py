"""`run()`, and the mounted application.

Must not know: events, handlers, rooms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast

import flask
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.serving import generate_adhoc_ssl_context

from python_server.api.keywords import ReloaderKeywords, RunKeywords, refuse_unknown
from python_server.api.options import tls_settings
from python_server.connection.allowed_hosts import PORT
from python_server.connection.arrival import arrived
from python_server.net.monkey_patch import refuse_patched
from python_server.net.scoreboard import WORKERS_MAX_COUNT
from python_server.observe import log
from python_server.serve.loading import with_debugger
from python_server.serve.mounts import Mount, find_site
from python_server.serve.reloader import (
    LOOK_SECONDS,
    Watched,
    end_with_reloader,
    folders_of_program,
    reloads,
    run_reloading,
    serves_here,
)
from python_server.serve.serve import public_address, serve
from python_server.settings import Settings, TLSSettings
from python_server.wsgi.environ import Application, Environ, StartResponse
from python_server.wsgi.foreign_server import RUNS_ITSELF, ForeignGuard

# What the servers of Flask-SocketIO take (Werkzeug, eventlet's, gevent's and their TLS), and ours has another
# way for, or none. Each is named in the log.
WORDS_OF_OTHER_SERVERS: Final = """
    backlog capitalize_response_headers custom_pool do_handshake_on_connect environ error_log handler_class
    keepalive log log_format log_x_forwarded_for max_http_version max_size minimum_chunk_size
    passthrough_errors processes protocol request_handler server_event server_side socket_timeout spawn
    ssl_version suppress_ragged_eofs url_length_limit
    """
WITHOUT_EFFECT: Final = frozenset(WORDS_OF_OTHER_SERVERS.split())


class Mounted:
    """`app.wsgi_app` with Socket.IO on it: our server takes its path before WSGI is asked.

    The mount itself stands in the application's attribute `wsframe_mounts`, where the server looks for it
    whatever middleware stands between.
    """

    def __init__(self, app: flask.Flask, path: str, mount: Mount) -> None:
        inner: Application = app.wsgi_app
        if isinstance(inner, Mounted) and inner.engineio_path == path:
            inner = inner.wsgi_app  # a second SocketIO on the same path takes its place
        self.flask_app = app
        self.wsgi_app: Application = inner
        self.engineio_path: str = path  # the peers' name, which extensions read
        self._guard = ForeignGuard(path, RUNS_ITSELF)
        holder: Any = app
        others = [other for other in getattr(app, "wsframe_mounts", []) if other.path != path]
        holder.wsframe_mounts = [*others, mount]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if arrived(self, environ, start_response):
            return [b""]
        refusal = self._guard.answer(environ, start_response)
        if refusal is not None:
            return refusal
        environ["flask.app"] = self.flask_app
        return self.wsgi_app(environ, start_response)


def run_application(app: flask.Flask, host: str | None, port: int | None, given: RunKeywords) -> None:
    """Serve `app` in this process; see SocketIO.run."""
    options = known_options(given)
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        log.say("socketio.run() does nothing here: a command line serves this application already")
        return
    serve_application(app, host, port, options)


def serve_application(app: flask.Flask, host: str | None, port: int | None, options: RunKeywords) -> None:
    """The same, also where a command line has loaded the application."""
    workers_count = options.get("workers", 1)
    if type(workers_count) is not int or not 1 <= workers_count <= WORKERS_MAX_COUNT:
        raise ValueError(
            f"run(workers={workers_count!r}): it is a number of processes, 1 to {WORKERS_MAX_COUNT}"
        )
    refuse_patched()
    debug = bool(options.get("debug", app.debug))
    app.debug = debug
    host = host or "127.0.0.1"
    settings = replace(
        Settings(),
        host=host,
        binds=(host,) if host.startswith("unix://") else (),
        port=_port(app, port),
        access_log="-" if options.get("log_output", debug) else None,
        log_level="debug" if debug else "info",
        debug=debug,
        workers_count=workers_count,
        allowed_hosts=_trusted_hosts(app.config.get("TRUSTED_HOSTS")),
        tls=_tls(options),
    )
    if not options.get("threaded", True):
        settings = replace(settings, wsgi_threads_count=1, event_threads_count=1)
    watched = _watched(options)
    use_debugger = options.get("use_debugger")
    debugger = debug if use_debugger is None else use_debugger
    if (debug or debugger) and (public := public_address(settings)) is not None and not serves_here():
        # A phone on the desk's network is why: Werkzeug allows it, and opens its console to localhost only.
        log.warn(f"debugging on {public}: other machines may read tracebacks; listen on 127.0.0.1 instead")
    if reloads(bool(options.get("use_reloader", debug))):
        run_reloading(watched, settings)
        sys.exit()  # as Werkzeug's does: what stands behind run() is the serving process's
    end_with_reloader()
    site = find_site(app)
    if static_files := options.get("static_files"):
        site.application = SharedDataMiddleware(site.application, static_files)
    if debugger:
        evalex = options.get("use_evalex", True)
        site.application = with_debugger(site.application, evalex=evalex, host=host)
        app.debug = debug  # the debugger alone does not switch it on
    serve(site, settings)


def known_options(given: RunKeywords) -> RunKeywords:
    """The options that have an effect. Raises TypeError: one that no server of Flask-SocketIO has either."""
    without = sorted(WITHOUT_EFFECT & given.keys())
    options = {name: value for name, value in given.items() if name not in without}
    elsewhere = "; `python -m python_server --help` shows what else the server can be told"
    refuse_unknown("run()", options, RunKeywords, elsewhere, ("host", "port"))
    if without:
        log.warn(f"run() ignores {', '.join(without)}: only other servers have such options{elsewhere}")
    return cast("RunKeywords", options)


def _trusted_hosts(given: str | Iterable[str] | None) -> str:
    """Flask's TRUSTED_HOSTS, one name or several, with ports that Werkzeug does not look at either."""
    names = [given] if isinstance(given, str) else given or ()
    return ",".join(PORT.sub("", name) for name in names)


def _watched(options: RunKeywords) -> Watched:
    """Werkzeug's words for what is watched, by themselves or in `reloader_options`."""
    words: dict[str, object] = {"interval": options.get("reloader_interval")}
    words |= {name: options.get(name) for name in ("extra_files", "exclude_patterns", "reloader_type")}
    inner: ReloaderKeywords = options.get("reloader_options") or {}
    refuse_unknown("reloader_options", inner, ReloaderKeywords)
    given = cast("ReloaderKeywords", {**words, **inner})
    extra = [os.path.realpath(path) for path in given.get("extra_files") or ()]
    return Watched(
        [*folders_of_program(), *filter(os.path.isdir, extra)],
        [path for path in extra if not os.path.isdir(path)],
        tuple(given.get("exclude_patterns") or ()),
        float(given.get("interval") or LOOK_SECONDS),
        given.get("reloader_type") == "stat",
    )


def _tls(options: RunKeywords) -> TLSSettings:
    given: Any = options.get("ssl_context")
    if given == "adhoc":
        if options.get("workers", 1) > 1:
            raise ValueError("ssl_context='adhoc' is a certificate for each process: with workers give files")
        given = generate_adhoc_ssl_context()
    words = dict(options)
    if hasattr(given, "wrap_bio"):
        words["ssl_context"] = given
    elif given:
        if not isinstance(given, tuple) or len(given) != 2:
            raise ValueError(
                "ssl_context is a pair (certificate file, key file), an ssl.SSLContext or 'adhoc'"
            )
        words |= {"ssl_context": None, "certfile": given[0], "keyfile": given[1]}
    return tls_settings(words) or TLSSettings()


def _port(app: flask.Flask, given: int | str | None) -> int:
    """A number, or its text, as the environment's PORT has it; else from SERVER_NAME; else 5000."""
    if given is None:
        _, colon, port = (app.config.get("SERVER_NAME") or "").rpartition(":")
        return int(port) if colon else 5000
    try:
        return int(given)
    except (TypeError, ValueError):
        raise ValueError(f"run(port={given!r}): a port is a number from 0 to 65535") from None
