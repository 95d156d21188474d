"""Static files: which file a URL path is, as python-engineio finds it, and how a request gets it.

It must not know which server stands beside the files.
"""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from engineio.static_files import get_static_file

from python_server.api.static_files import answer_static_file, find_static_file

FILES = {
    "/": "index.html",
    "/style.css": "files/look.css",
    "/typed": {"filename": "files/page", "content_type": "text/html"},
    "/folder": "public",
    "/slash": "public/",
    "/slash/deep": "other/",
    "/both/": {"filename": "public/", "content_type": "text/x-all"},
}
PATHS = [
    "/",
    "/style.css",
    "/typed",
    "/folder/a.js",
    "/folder/",
    "/slash/",
    "/slash/a/b.png",
    "/slash/deep/c.txt",
]
PATHS += [
    "/slash/deep",
    "/both/x",
    "/both",
    "/nothing",
    "/nothing/x",
    "/folder/a",
    "/slash//etc/x",
]


@pytest.mark.parametrize("index", [None, "start.html", {"filename": "start", "content_type": "text/x-start"}])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_the_file_that_it_is_there(path: str, index: Any) -> None:
    rules: dict[str, Any] = FILES if index is None else {**FILES, "": index}
    theirs = get_static_file(path, rules)
    if index is not None and path.startswith(("/nothing", "/both")) and path != "/both/x":
        theirs = get_static_file(path, FILES)  # there "" is also the folder of everything else
    found = find_static_file(path, rules)
    assert found == (None if theirs is None else (theirs["filename"], theirs["content_type"]))


def test_a_root_folder_has_everything_below_it() -> None:
    """There the rule "" is found first, and nothing below the root is."""
    rules = {"/": "public/", "": "start.html"}
    assert find_static_file("/", rules) == ("public/start.html", "text/html")
    assert find_static_file("", rules) == ("public/start.html", "text/html")
    assert find_static_file("/a/b.js", rules) == ("public/a/b.js", "application/javascript")
    assert find_static_file("/a/b.svg", rules) == ("public/a/b.svg", "image/svg+xml")
    assert find_static_file("/a/", rules) == ("public/a/start.html", "text/html")
    assert find_static_file("/a", {}) is None


@pytest.mark.parametrize(
    "path", ["/f/../secret", "/f/..", "/f/a/../../secret", "/f/../../../../etc/passwd", "/f/%2e%2e/x/../.."]
)
def test_no_path_leads_out_of_its_folder(path: str) -> None:
    for rules in ({"/f": "public"}, {"/f/": "public/"}, {"/": "public/"}):
        assert find_static_file(path, rules) is None


class Request:
    """One GET, and what it is answered."""

    def __init__(self, path: str, rules: Any) -> None:
        self.status, self.headers, self.body = "", {}, b""
        environ = {"PATH_INFO": path.encode().decode("latin-1")}
        self.answer = answer_static_file(environ, self._start_response, rules)
        if self.answer is not None:
            self.body = b"".join(self.answer)
            self.answer.close()

    def _start_response(self, status: str, headers: Any) -> Any:
        self.status, self.headers = status, dict(headers)


def test_a_file_is_answered_with_type_and_length(tmp_path: Path) -> None:
    (tmp_path / "grüße.txt").write_text("hello")
    request = Request("/f/grüße.txt", {"/f": str(tmp_path)})
    assert (request.status, request.body) == ("200 OK", b"hello")
    assert request.headers == {"Content-Type": "text/plain", "Content-Length": "5"}


def test_what_is_no_file_is_not_answered(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("folder", "pipe", "link", "nothing", "a\0b", "folder/"):
        assert Request(f"/{name}", {"/": f"{tmp_path}/"}).answer is None
    assert answer_static_file({"PATH_INFO": "/\xff"}, io.StringIO, {"/": f"{tmp_path}/"}) is None


def test_a_file_that_may_not_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text("hello")

    def refuse(*args: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert Request("/mine", {"/": f"{tmp_path}/"}).answer is None
