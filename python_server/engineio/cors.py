"""Which web pages may open sessions: the Origin field against our own origin and an allow-list (CORS).

Must not know: sessions, transports; what a refusal looks like on the wire.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Final

from python_server.http1.parser import Request
from python_server.http1.response import Headers

# Sec-Fetch-Site of a page that is not ours (Fetch Metadata); browsers of before 2023 may leave it out.
OTHER_SITES: Final = ("cross-site", "same-site")

# The origin of a Referer.
PAGE: Final = re.compile(r"https?://[^/?#]+")

AllowedOrigins = str | Iterable[str] | Callable[[str], bool] | Callable[[str, Request], bool] | None

# May a page of that origin ask that?
Rule = Callable[[str, Request], bool]


class OriginRules:
    """Decides per request (Fetch standard, CORS protocol; RFC 6455 10.2 for WebSockets).

    Args:
        allowed: None: the server's own origin only. "*" or ["*"]: any. A string, a list of strings, or a
            function of the origin, or of the origin and the request. []: the check is off.
        credentials: whether other allowed origins may send cookies. None: unless it is any origin; the Fetch
            standard lets "*" and credentials never stand together, and an echo of the origin gets round that.
    """

    def __init__(self, allowed: AllowedOrigins = None, credentials: bool | None = None) -> None:
        listed: frozenset[str] = frozenset()
        if isinstance(allowed, str):
            listed = frozenset([allowed])
        elif allowed is not None and not callable(allowed):
            listed = frozenset(allowed)
        any_origin = "*" in listed
        self._off = not (allowed is None or callable(allowed) or listed)
        self._rule = _rule_of(allowed, listed) if not (any_origin or self._off) else None
        self.credentials: bool = credentials is True or (credentials is None and not any_origin)
        # Would they have been allowed before one had to ask for them?
        self.leaves_credentials_out: bool = credentials is None and any_origin

    def refusal(self, request: Request) -> str | None:
        """Why the request's origin is refused, with the option that would allow it; None if it is not."""
        origin = request.get("origin")
        if not origin or self._rule is None or self._rule(origin, request):
            return None
        if origin == "null":
            return "origin null is not allowed, a file's page has it: open the page at its http:// address"
        return (
            f"origin {origin} is not allowed; to allow it set cors_allowed_origins=[{origin!r}] "
            f"(the request came for host {request.authority or '?'})"
        )

    def script_refusal(self, request: Request) -> str | None:
        """Why a page may not ask by <script> or form, which carry cookies and no Origin; None if it may.

        Over plain HTTP browsers send no Sec-Fetch-Site (but to localhost): then the Referer alone tells.
        """
        site = request.get("sec-fetch-site")
        page = PAGE.match(request.get("referer"))
        origin = request.get("origin") or (page[0] if page is not None else "")
        if self._rule is None or (site not in OTHER_SITES if site else not origin):
            return None
        if origin and (origin.lower() in own_origins(request) or self._rule(origin, request)):
            return None
        return (
            f"a page of another origin ({origin or site}) asks by JSONP; to allow it set "
            f"cors_allowed_origins=[{origin or 'its origin'!r}]"
        )

    def headers(self, request: Request) -> Headers:
        """The CORS fields of a response to an allowed request."""
        origin = request.get("origin")
        if not origin or self._off or (self._rule is not None and not self._rule(origin, request)):
            return []
        headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if self.credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        if request.method == "OPTIONS":
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
            asked = request.get("access-control-request-headers")
            if asked:
                headers.append(("Access-Control-Allow-Headers", asked))
        return headers


def own_origins(request: Request) -> frozenset[str]:
    """The origins that the request came for, in small letters; none where it names no host.

    Its authority and scheme are a trusted proxy's word where there is one. Plain HTTP may have been TLS up to
    a proxy that does not say so; the other way round cannot be.
    """
    schemes = () if not request.authority else ("https",) if request.scheme == "https" else ("http", "https")
    return frozenset(f"{scheme}://{request.authority}".lower() for scheme in schemes)


def _rule_of(allowed: AllowedOrigins, listed: frozenset[str]) -> Rule:
    if allowed is None:
        return lambda origin, request: origin.lower() in own_origins(request)
    if not callable(allowed):
        return lambda origin, request: origin in listed
    rule: Callable[..., bool] = allowed
    try:
        inspect.signature(rule).bind(None, None)
    except (TypeError, ValueError):
        return lambda origin, request: rule(origin)
    return rule
