"""What no log may say: the values of session ids and of a query's secrets; a session id in short.

Must not know: what a line is about, or where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

MASK: Final = "***"
# Fields of a query whose value opens something: the session, and what OAuth 2 (RFC 6749), OpenID Connect,
# signed links and login forms call theirs. GitLab and Sentry mask such ones.
SECRET_FIELDS: Final = """
    sid session sessionid session_id token access_token refresh_token id_token auth authorization key api_key
    apikey password passwd pwd secret client_secret code jwt signature sig ticket
    """
# Header fields that carry such values in ways of their own.
SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
SHORT_CHARACTERS: Final = 6  # 36 of 120 bits: to tell apart, not to guess the rest

# A name begins behind what separates, in a query or in a text that quotes one: each character is seen once. A
# value goes on to the end of all that may be of it.
_NAME: Final = re.compile(r"""(?:^|(?<=[?&;\s"'(,{]))([^?&;\s"'(,{=]+)=""")
_VALUE_END: Final = re.compile(r"[&#\s]|$")
_secret_fields = set(SECRET_FIELDS.split())
# Nearly every line has none of these, and is done with: names that are in no other's, and an escape.
_signs = ["%", "+"]


def mask_also(names: Iterable[str]) -> None:
    """These fields too, in this process from now on."""
    _secret_fields.update(map(_normal, names))
    fields = _secret_fields
    _signs[2:] = [name for name in fields if not any(other != name and other in name for other in fields)]


def masked(text: str) -> str:
    """`text`, a target or anything that may quote one, without the values of secret fields."""
    if "=" not in text or not _may_hold_one(_normal(text)):
        return text
    pieces: list[str] = []
    begin = 0
    for found in _NAME.finditer(text):
        value_at = found.end()
        if value_at > begin and _is_secret(found[1]):
            end_at = _VALUE_END.search(text, value_at).start()  # type: ignore[union-attr]  # "$" is there
            if end_at > value_at:
                pieces += text[begin:value_at], MASK
                begin = end_at
    return "".join(pieces) + text[begin:] if pieces else text


def _may_hold_one(text: str) -> bool:
    for sign in _signs:  # noqa: SIM110 - a third of the time of `any`
        if sign in text:
            return True
    return False


def _is_secret(name: str) -> bool:
    if "%" in name or "+" in name:
        name = unquote_plus(name)
    return _normal(name) in _secret_fields


def _normal(text: str) -> str:
    return text.lower().replace("-", "_")


def masked_header(name: str, value: str) -> str:
    """The value of a header field, by its lower-case name."""
    return MASK if value and name in SECRET_HEADERS else masked(value)


def short(sid: str) -> str:
    """Enough of a session id to follow it through the log: a worker's index in front stays."""
    begin = max(sid.rfind("."), sid.rfind("#")) + 1 + SHORT_CHARACTERS
    return sid if len(sid) <= begin else sid[:begin] + ".."


mask_also(())
