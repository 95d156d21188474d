"""Static files beside a mounted server: python-engineio's mapping of URL paths to files.

Must not know: which server stands beside them, or how bytes leave.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from python_server.wsgi.environ import Environ, FileWrapper, StartResponse

# A file or a folder; or {"filename": ..., "content_type": ...}.
Rule: TypeAlias = str | Mapping[str, str]
# python-engineio's eight; of other endings the standard library knows the type.
CONTENT_TYPES: Final = {
    "css": "text/css",
    "gif": "image/gif",
    "html": "text/html",
    "jpg": "image/jpeg",
    "js": "application/javascript",
    "json": "application/json",
    "png": "image/png",
    "txt": "text/plain",
}
UNKNOWN_TYPE: Final = "application/octet-stream"


def find_static_file(path: str, rules: Mapping[str, Rule]) -> tuple[str, str] | None:
    """(file, content type) of a URL path, None where no rule has it; whether the file exists is not asked.

    A rule is for its path and for all below it; the nearest one is taken. One that leads to a folder, with a
    slash at its end, gives the folder's file of the rule "", or index.html.
    """
    rule, below = _nearest(path or "/", rules)
    if rule is None or ".." in below.split("/"):
        return None
    name, content_type = _read(rule)
    name += below.removeprefix("/") if name.endswith("/") else below
    if name.endswith("/"):
        index, index_type = _read(rules.get("", "index.html"))
        name, content_type = name + index, index_type or content_type
    return name, content_type or _type_of(name)


def _nearest(path: str, rules: Mapping[str, Rule]) -> tuple[Rule | None, str]:
    """The rule for a path or for what it is below, and the rest of the path."""
    if path in rules:
        return rules[path], ""
    base = path
    while base:
        base = base.rpartition("/")[0]
        for place in (base, f"{base}/"):
            if place and place in rules:
                return rules[place], path[len(base) :]
    return None, ""


def _read(rule: Rule) -> tuple[str, str | None]:
    return (rule, None) if isinstance(rule, str) else (rule["filename"], rule.get("content_type"))


def _type_of(name: str) -> str:
    ending = name.rpartition(".")[2]
    return CONTENT_TYPES.get(ending) or mimetypes.guess_type(name)[0] or UNKNOWN_TYPE


def answer_static_file(
    environ: Environ, start_response: StartResponse, rules: Mapping[str, Rule]
) -> Iterable[bytes] | None:
    """The file that a request asks for; None where there is none."""
    try:
        path = environ["PATH_INFO"].encode("latin-1").decode()  # PEP 3333: bytes, written as latin-1
    except UnicodeError:
        return None
    found = find_static_file(path, rules)
    if found is None or not os.path.isfile(found[0]):  # nor a folder, nor a pipe that would wait
        return None
    try:
        file = open(found[0], "rb")  # noqa: SIM115 - who sends it closes it
    except OSError:  # it may not be read
        return None
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", found[1]), ("Content-Length", str(size))])
    return FileWrapper(file)
