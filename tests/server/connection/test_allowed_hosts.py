"""Hosts that requests may be for, against a list (connection/allowed_hosts.py).

It must not know requests.
"""

import pytest

from python_server.connection.allowed_hosts import AllowedHosts

ALLOWED = [
    ("", "any.test", True),
    ("*", "any.test", True),
    ("shop.example, *", "any.test", True),
    ("shop.example", "shop.example", True),
    ("shop.example", "SHOP.example:8000", True),
    ("Shop.Example", "shop.example.", True),
    ("shop.example", "www.shop.example", False),
    ("shop.example", "evilshop.example", False),
    ("shop.example", "", False),
    (".shop.example", "shop.example", True),
    (".shop.example", "a.b.shop.example:1", True),
    (".shop.example", "evilshop.example", False),
    (".shop.example", ".shop.example", False),
    ("*.shop.example", "www.shop.example", True),
    ("*.shop.example", "shop.example", False),
    ("*.shop.example", ".shop.example", False),
    ("a.test , b.test", "b.test", True),
    ("a.test,b.test", "c.test", False),
    ("[::1]", "[::1]:8000", True),
    ("[::1]", "[::2]", False),
    ("127.0.0.1", "127.0.0.1:80", True),
]


@pytest.mark.parametrize(("names", "authority", "allowed"), ALLOWED)
def test_allowed(names: str, authority: str, allowed: bool) -> None:
    assert AllowedHosts(names).allows(authority) is allowed


@pytest.mark.parametrize(
    "entry", ["http://shop.example", "shop.example:80", "a b", "*shop", "a..b", "::1", "**"]
)
def test_an_entry_that_is_no_name(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is no name of a host: write shop\.example") as caught:
        AllowedHosts(f"shop.example, {entry}")
    assert str(caught.value).startswith(repr(entry))


def test_commas_alone_would_allow_everybody() -> None:
    with pytest.raises(ValueError, match=r"^' , ' names no host: write shop\.example, or \* for any$"):
        AllowedHosts(" , ")
