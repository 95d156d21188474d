"""The keywords of every face, as editors and type checkers see them, and what becomes of unknown ones.

Must not know: what a keyword does, or anything that runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias, TypedDict, TypeVar

from python_server.observe import log
from python_server.socketio.values import Rooms
from python_server.wsgi.environ import Environ

Function: TypeAlias = Callable[..., object]
Decorated = TypeVar("Decorated", bound=Function)
# Options as they were given: each is looked at where it is read.
Keywords: TypeAlias = Mapping[str, Any]
# What a program keeps for one client.
SessionData: TypeAlias = dict[str, Any]
# How a program judges a handshake: False or a sentence refuses it.
RequestRule = Callable[[Environ], bool | str | None]
# Of a test client's handshake.
HandshakeHeaders = Mapping[str, str] | Iterable[tuple[str, str]] | None
# "20/s", "5/10s", "100/m" or (count, seconds).
Rate = str | tuple[int, float] | None
Sids = str | Sequence[str] | AbstractSet[str] | None
# Of more names than this the nearest is told, of fewer all.
NAMES_TOLD_MAX_COUNT: Final = 20
# What says whom an event reaches: it would reach others if one of these words were misspelt and ignored.
ADDRESSING: Final = frozenset(
    ["to", "room", "skip_sid", "include_self", "namespace", "broadcast", "callback", "except_rooms"]
)
# How like another word one must be, as difflib counts, to be a slip of it; of two letters one is enough.
SLIP_RATIO: Final = 0.7
SHORT_SLIP_RATIO: Final = 0.5
# Unknown keywords that the log has named. A program may pass on words that its clients choose: then these.
IGNORED_MAX_COUNT: Final = 100
_IGNORED: Final[set[tuple[str, str]]] = set()


class NamedEngineKeywords(TypedDict, total=False):
    """What we add to python-engineio's Server."""

    upgrade_timeout: float
    max_queued_bytes: int
    allow_request: RequestRule | None
    max_decode_packets: int | None
    jsonp: bool
    allow_eio3: bool


class EngineKeywords(NamedEngineKeywords, total=False):
    """What python-engineio's Server takes besides."""

    ping_interval: float | tuple[float, float]
    ping_timeout: float
    max_http_buffer_size: int
    allow_upgrades: bool
    http_compression: bool
    compression_threshold: int
    cookie: str | Mapping[str, object] | None
    cors_allowed_origins: str | Iterable[str] | Callable[[str], bool] | Callable[[str, Environ], bool] | None
    cors_credentials: bool | None
    transports: str | Sequence[str] | None


class NamedServerKeywords(EngineKeywords, total=False):
    """What python-socketio's Server takes by name alone, and what we add."""

    async_mode: str | None
    engineio_logger: object
    # What it chooses there is no choice here; docs/migration.md has a line for it.
    monitor_clients: bool | None
    # Flask-SocketIO's for the same.
    message_queue: str | None
    channel: str
    redis_options: Mapping[str, object] | None
    # Ours.
    channel_per_room: bool
    connection_state_recovery: bool | Mapping[str, object]
    connect_timeout: float
    attachments_timeout: float
    serve_client: bool


class ServerKeywords(NamedServerKeywords, total=False):
    """What python-socketio's Server takes by place as well."""

    client_manager: object
    logger: object
    serializer: str
    json: object
    async_handlers: bool
    always_connect: bool
    namespaces: str | Iterable[str] | None


class SocketIOKeywords(ServerKeywords, total=False):
    """What Flask-SocketIO's SocketIO and init_app take."""

    manage_session: bool
    path: str | None
    resource: str | None


class ReloaderKeywords(TypedDict, total=False):
    """What Werkzeug's reloader takes, in `reloader_options`."""

    exclude_patterns: Iterable[str] | None
    extra_files: Iterable[str] | None
    interval: float | None
    reloader_type: str | None


class TLSKeywords(TypedDict, total=False):
    """What gevent's WSGIServer takes of module ssl's words."""

    certfile: str | None
    keyfile: str | None
    ca_certs: str | None
    cert_reqs: int | None
    ciphers: str | None
    ssl_context: object


class RunKeywords(TLSKeywords, total=False):
    """What `SocketIO.run` takes besides application, host and port."""

    workers: int
    debug: bool
    log_output: bool
    use_reloader: bool
    reloader_options: ReloaderKeywords | None
    extra_files: Iterable[str] | None
    exclude_patterns: Iterable[str] | None
    reloader_interval: float | None
    reloader_type: str | None
    use_debugger: bool | None
    use_evalex: bool
    threaded: bool
    static_files: Mapping[str, str | tuple[str, str]] | None
    # Not needed here.
    allow_unsafe_werkzeug: bool
    load_dotenv: bool


class OnKeywords(TypedDict, total=False):
    """What `on` and its kin take besides event, function and namespace."""

    inline: bool
    ordered: bool
    rate_limit: Rate


class Recipients(TypedDict, total=False):
    """Whom an Emitter's `emit` and `send` may reach."""

    to: Rooms
    room: Rooms
    skip_sid: Sids
    except_rooms: Rooms
    namespace: str | None


class Selection(TypedDict, total=False):
    """Who does not get what a server emits."""

    skip_sid: Sids
    except_rooms: Rooms
    ignore_queue: bool
    volatile: bool


class SendKeywords(TypedDict, total=False):
    """What `send` of a Server takes beside python-socketio's words, and what its `emit` does with it."""

    except_rooms: Rooms
    volatile: bool
    timeout: float | None


class Addressing(Selection, total=False):
    """What `emit` of Flask-SocketIO's Namespace takes besides its named arguments."""

    to: Rooms
    broadcast: bool


class EmitKeywords(Addressing, total=False):
    """What Flask-SocketIO's `emit` and `send` take besides their data."""

    namespace: str | None
    room: Rooms
    include_self: bool
    callback: Function | None


class OtherSendKeywords(TypedDict, total=False):
    """What SocketIO's `send` takes besides its named arguments."""

    room: Rooms
    broadcast: bool
    except_rooms: Rooms
    ignore_queue: bool
    volatile: bool


class ManagerKeywords(TypedDict, total=False):
    """What `emit` of python-socketio's manager takes."""

    namespace: str
    room: Rooms
    to: Rooms
    skip_sid: Sids
    callback: Function | None
    ignore_queue: bool


class CallKeywords(TypedDict, total=False):
    """What Flask-SocketIO's `call` takes besides its event and data."""

    namespace: str | None
    to: str | None
    room: str | None
    sid: str | None
    timeout: float | None
    ignore_queue: bool


def names_of(keywords: type) -> frozenset[str]:
    """The names that a class above lists."""
    names: frozenset[str] = keywords.__dict__["__optional_keys__"]
    return names


def refuse_unknown(
    what: str, given: Keywords, keywords: type, elsewhere: str = "", parameters: Collection[str] = ()
) -> None:
    """Refuse what `keywords` does not list: a misspelt word should not pass in silence.

    `parameters` are what else may have been meant.

    Raises TypeError: `what` has no such option.
    """
    known = names_of(keywords)
    unknown = given.keys() - known
    if unknown:
        name = min(unknown)
        words = {*known, *parameters}
        near = difflib.get_close_matches(name, words, 1) if len(known) > NAMES_TOLD_MAX_COUNT else []
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(words))}"
        raise TypeError(f"{what} has no option {name!r}: {hint}{elsewhere} [unknown-keyword]")


def drop_unknown(what: str, given: Keywords, keywords: type) -> dict[str, Any]:
    """What `keywords` lists of the given ones; the log names each of the others once, as the peers ignore it.

    Raises TypeError: one is nearly a word that says whom an event reaches, where there is such a word.
    """
    known = names_of(keywords)
    for name in sorted(given.keys() - known):
        if (what, name) in _IGNORED:
            continue
        meant = slip_of(name, ADDRESSING & known)
        if meant is not None:
            raise TypeError(f"{what} has no option {name!r}: did you mean {meant!r}? [unknown-keyword]")
        if len(_IGNORED) < IGNORED_MAX_COUNT:
            _IGNORED.add((what, name))
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            log.warn(f"{what} ignores the unknown keyword {name!r:.100}{hint}")
    return {name: value for name, value in given.items() if name in known}


def slip_of(name: str, words: Iterable[str]) -> str | None:
    """The one of `words` that `name` may have been meant for, in whatever case and with or without `_`."""
    plain = {word.replace("_", ""): word for word in words}
    ratio = SLIP_RATIO if len(name) > 2 else SHORT_SLIP_RATIO
    near = difflib.get_close_matches(name.lower().replace("_", ""), plain, 1, ratio)
    return plain[near[0]] if near else None
