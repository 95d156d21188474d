"""What no log may say, whatever way a client writes it; a session id in short (observe/masking.py).

It must not know which log asks.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_server.observe import masking
from python_server.observe.masking import SECRET_FIELDS, mask_also, masked, masked_header, short


@pytest.mark.parametrize("name", SECRET_FIELDS.split())
def test_each_secret_is_masked_wherever_it_stands(name: str) -> None:
    assert masked(f"{name}=hunter2") == f"{name}=***"
    assert masked(f"/a?x=1&{name}=hunter2&y=2#z") == f"/a?x=1&{name}=***&y=2#z"
    assert masked(f"GET /?{name.upper()}=hunter2 HTTP/1.1") == f"GET /?{name.upper()}=*** HTTP/1.1"


@pytest.mark.parametrize(
    "name", ["%73id", "s%69d", "%73%69%64", "access-token", "access%5Ftoken", "API_KEY", "a=1;token"]
)
def test_other_ways_to_write_a_name(name: str) -> None:
    assert "hunter2" not in masked(f"/?{name}=hunter2")


@pytest.mark.parametrize(
    "text", ["/", "/a?page=2&sidebar=1", "x = 1", "monkey=1", "a=b=c", "?sid=&a=1", "/x?%zz=1", "sid"]
)
def test_all_else_stays(text: str) -> None:
    assert masked(text) == text


def test_in_the_text_of_a_fault() -> None:
    said = "BadRequest('/socket.io/?EIO=4&sid=abc') {token=x, name=y} (jwt=z)"
    assert masked(said) == "BadRequest('/socket.io/?EIO=4&sid=*** {token=*** name=y} (jwt=***"


def test_a_long_text_is_gone_through_once() -> None:
    """A quadratic pattern would take minutes."""
    for text in ("x" * 2_000_000 + "=1", "x" * 2_000_000, "&a" * 1_000_000, "?=" * 1_000_000):
        assert masked(text) == text


SECRETS = st.text(min_size=1).filter(lambda text: not re.search(r"[&#\s]", text))


@given(st.text(alphabet="asid=&;?#+% '\""), SECRETS)
def test_no_part_of_a_secret_gets_through(before: str, secret: str) -> None:
    assert masked(f"{before}&sid={secret}") == f"{masked(before)}&sid=***"


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_secret_fields", set(masking._secret_fields))
    monkeypatch.setattr(masking, "_signs", masking._signs[:])


@pytest.mark.usefixtures("forgetful")
def test_an_operator_adds_fields() -> None:
    assert masked("?pin=1") == "?pin=1"
    mask_also(["PIN", "my-word"])
    assert masked("?pin=1&Pin=2") == "?pin=***&Pin=***"
    assert masked("?my-word=1") == "?my-word=***"
    assert masked("?my_word=1") == "?my_word=***"


def test_header_fields() -> None:
    for name in ("authorization", "proxy-authorization", "cookie", "set-cookie"):
        assert masked_header(name, "io=abc") == "***"
    assert masked_header("referer", "http://a/?sid=1") == "http://a/?sid=***"
    assert masked_header("cookie", "") == ""


@pytest.mark.parametrize(
    ("sid", "shown"),
    [
        ("lv_VI97HAXpY6yYWAAAC", "lv_VI9.."),
        ("3.lv_VI97HAXpY6yYWAAAC", "3.lv_VI9.."),
        ("Zk3b.3.lv_VI97HAXpY6yYWAAAC", "Zk3b.3.lv_VI9.."),
        ("/chat#lv_VI97HAXpY6yYWAAAC", "/chat#lv_VI9.."),
        ("short", "short"),
        ("", ""),
    ],
)
def test_short(sid: str, shown: str) -> None:
    assert short(sid) == shown
