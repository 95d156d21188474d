"""PEP 3333 as wsgiref.validate sees it, around a bare function, Flask and Django (R80).

It must not know the server: a breach raises in the application and shows as 500 and in the log.
"""

from typing import Any

import pytest

DATA = b"0123456789" * 1_000
CASES = [
    *((name, kind) for name in ("bare", "flask", "django") for kind in ("hello", "echo", "stream", "empty")),
    *(("flask", "file"), ("django", "file"), ("bare", "write")),
]


@pytest.fixture(scope="module")
def validated(start: Any) -> Any:
    pytest.importorskip("django")
    return start("validated_app:app")


@pytest.mark.parametrize(("name", "kind"), CASES, ids=["-".join((*case, "R80")) for case in CASES])
def test_answer(validated: Any, name: str, kind: str) -> None:
    path = f"/{name}/{kind}"
    if kind == "echo":
        answer = validated.ask(path, b"Content-Length: 5\r\n", "POST", b"hello")
    else:
        answer = validated.ask(path)
    validated.program.wait_for(f" {path} HTTP/1.1")  # said once the response has ended
    log = validated.program.log
    assert answer.complete, log
    assert answer.status == (204 if kind == "empty" else 200), log
    assert answer.body == (b"" if kind == "empty" else DATA if kind in ("stream", "file") else b"hello")
    assert "AssertionError" not in log
    assert "WSGIWarning" not in log


@pytest.mark.parametrize("name", ["bare", "flask", "django"])
def test_head(validated: Any, name: str) -> None:
    answer = validated.ask(f"/{name}/hello", method="HEAD")
    assert answer.status == 200, validated.program.log
