"""Which hosts requests may be for: the name that a client asked, against a list.

Must not know: requests, origins, what a request for another host is answered.

A page of evil.test whose name is bound to our address a moment later (DNS rebinding) is of our own origin to
its browser, and to a rule that compares Origin with Host; only a list of our names tells them apart.
"""

from __future__ import annotations

import re
from typing import Final

# "shop.example", ".shop.example" (with everything below it), "*.shop.example" (what is below it), "[::1]".
NAME: Final = re.compile(r"(?:\*?\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
PORT: Final = re.compile(r":[0-9]*\Z")


class AllowedHosts:
    """Django's and Starlette's lists.

    Args:
        names: with commas between them; "*" for any. Ports are not looked at.

    Raises:
        ValueError: an entry is no name; the message names it. There are commas and no entry: it would be read
            as a list of nobody, and mean everybody.
    """

    def __init__(self, names: str) -> None:
        entries = [entry.strip().lower() for entry in names.split(",") if entry.strip()]
        for entry in entries:
            if entry != "*" and NAME.fullmatch(entry) is None:
                raise ValueError(
                    f"{entry!r} is no name of a host: write shop.example, .shop.example or [::1]"
                )
        if names.strip() and not entries:
            raise ValueError(f"{names!r} names no host: write shop.example, or * for any")
        self._any = "*" in entries or not entries
        self._names = frozenset(entry.removeprefix(".") for entry in entries if not entry.startswith("*"))
        self._suffixes = tuple(entry.removeprefix("*") for entry in entries if entry[0] in "*.")

    def allows(self, authority: str) -> bool:
        """Is a request for that host, with or without a port, for one of them?"""
        if self._any:
            return True
        host = PORT.sub("", authority.lower()).removesuffix(".")
        return host in self._names or (host[:1] != "." and host.endswith(self._suffixes))
