"""Which origins may come, and the fields they get (engineio/cors.py).

It must not know sessions.
"""

from typing import Any

import pytest

from python_server.engineio.cors import OriginRules
from python_server.http1.parser import Request


def request(origin: str = "", method: str = "GET", **fields: str) -> Request:
    values = {name.replace("_", "-"): value for name, value in fields.items()}
    if origin:
        values["origin"] = origin
    return Request(
        method, "/", "/", "", (1, 1), list(values.items()), authority="app.test:8000", fields=values
    )


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        (None, "", True),
        (None, "http://app.test:8000", True),
        (None, "https://app.test:8000", True),
        (None, "http://app.test", False),
        (None, "http://evil.test", False),
        (None, "null", False),
        (None, "http://app.test:8000.evil.test", False),
        ("*", "http://evil.test", True),
        (["*"], "null", True),
        ([], "http://evil.test", True),
        ("http://a.test", "http://a.test", True),
        ("http://a.test", "http://app.test:8000", False),
        (["http://a.test", "http://b.test"], "http://b.test", True),
        (["http://a.test"], "http://a.test.evil", False),
        (lambda origin: origin.endswith(".ours.test"), "http://x.ours.test", True),
        (lambda origin: False, "http://app.test:8000", False),
    ],
)
def test_who_passes(allowed: Any, origin: str, passes: bool) -> None:
    rules = OriginRules(allowed)
    assert (rules.refusal(request(origin)) is None) is passes
    if not passes:
        assert rules.headers(request(origin)) == []


def test_a_forwarded_host_counts_only_where_a_trusted_proxy_said_it() -> None:
    """Whoever trusts the proxy writes its word into the request's authority before we look."""
    refusal = OriginRules().refusal(request("https://public.test", x_forwarded_host="public.test"))
    assert refusal is not None


def test_over_tls_a_page_without_it_is_another_origin() -> None:
    over_tls = request("http://app.test:8000")
    over_tls.scheme = "https"
    assert OriginRules().refusal(over_tls) is not None


def test_the_refusal_names_the_option_that_would_allow_it() -> None:
    sentence = OriginRules().refusal(request("http://evil.test"))
    assert sentence is not None
    assert "cors_allowed_origins=['http://evil.test']" in sentence


def test_a_page_opened_as_a_file_is_told_to_be_served() -> None:
    """Whoever allows "null" allows each sandboxed frame of each site."""
    sentence = OriginRules().refusal(request("null"))
    assert sentence is not None
    assert "open the page at its http:// address" in sentence
    assert "cors_allowed_origins" not in sentence


def test_cors_with_credentials() -> None:
    rules = OriginRules("http://a.test")
    assert dict(rules.headers(request("http://a.test"))) == {
        "Access-Control-Allow-Origin": "http://a.test",
        "Vary": "Origin",
        "Access-Control-Allow-Credentials": "true",
    }


def test_cors_without_credentials() -> None:
    headers = dict(OriginRules("http://a.test", credentials=False).headers(request("http://a.test")))
    assert "Access-Control-Allow-Credentials" not in headers


def test_preflight_names_methods_and_the_fields_asked_for() -> None:
    rules = OriginRules("*")
    asked = request("http://a.test", "OPTIONS", access_control_request_headers="x-one, x-two")
    headers = dict(rules.headers(asked))
    assert headers["Access-Control-Allow-Methods"] == "OPTIONS, GET, POST"
    assert headers["Access-Control-Allow-Headers"] == "x-one, x-two"


def test_no_origin_no_fields() -> None:
    assert OriginRules("*").headers(request()) == []
