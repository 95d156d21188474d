"""Forwarded (RFC 7239) and X-Forwarded-*: who asked, how and for which host, as trusted proxies tell it.

Must not know: sockets, connections, or what a request is for; fields and a peer in, the effective ones out.

Every proxy appends the address it heard from, so the last entry is the word of our own peer, the one before
it the word of the proxy that the last entry names, and so on. Read from the right, an entry counts as long as
all hops behind it are trusted; the first address that is not trusted is the client, and nothing to its left
is looked at: the client may have written that itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from python_server.http1.head import Fields

X_FIELDS: Final = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
FIELDS: Final = ("forwarded", *X_FIELDS)
# RFC 7239 4: pairs of token "=" (token or quoted-string), ";" between them, "," between elements.
PAIR: Final = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+)|\"((?:[^\"\\]|\\.)*)\")"
    r"[ \t]*(;|,|\Z)"
)
QUOTED: Final = re.compile(r"\\(.)")
# RFC 3986 3.2.2 and 3.2.3, without a user name.
HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~]+)(?::([0-9]{1,5}))?\Z")
# RFC 7239 6, with a port or without; IPv6 without brackets, as X-Forwarded-For has it, is not matched.
NODE: Final = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::([0-9]{1,5}|_[A-Za-z0-9._-]+|))?\Z")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
# Hops looked at: each costs an address parse, and a client may send as many as a header line holds.
HOPS_MAX_COUNT: Final = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from and goes to.

    Attributes:
        peer: (address, port) of the client, None when only a UNIX socket is known.
        scheme: "http" or "https". authority: the Host it asked for. port: the port it asked for, None when
            no proxy has said so.
    """

    peer: object
    scheme: str
    authority: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says of the hop before it; "" where it says nothing."""

    address: str = ""
    proto: str = ""
    host: str = ""
    port: str = ""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, or None; one that IPv6 maps from IPv4 (RFC 4291 2.5.5.2) is the latter."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


class ProxyRules:
    """Which peers are proxies that may speak for their clients.

    Args:
        trusted: addresses and networks with commas between them, or "*" for every peer. A UNIX socket's peer
            is trusted always: the permissions of its file have let it in.
        secure_values: by the name of a field the value that says "https", any other one says "http"; then
            nothing else is believed of a proxy (gunicorn's secure_scheme_headers).

    Raises:
        ValueError: an entry is neither; the message names it.
    """

    def __init__(self, trusted: str, secure_values: Mapping[str, str] | None = None) -> None:
        self._secure_values = secure_values
        # A request without any of them is as it was sent, whoever sent it.
        self.names: frozenset[str] = frozenset(FIELDS if secure_values is None else secure_values)
        entries = [entry.strip() for entry in trusted.split(",") if entry.strip()]
        self._all = "*" in entries
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            if entry != "*":
                try:
                    self._networks.append(ip_network(entry))
                except ValueError as error:
                    raise ValueError(f"{entry!r} is no address or network: {error}") from None

    def trusts(self, address: str) -> bool:
        """Is a host of that address one of our proxies?"""
        if self._all:
            return True
        host = parse_address(address)
        return host is not None and any(host in network for network in self._networks)

    def resolve(self, fields: Fields, origin: Origin) -> tuple[Fields, Origin]:
        """The fields that may be believed and the effective origin of a request with `fields` from `origin`.

        Those of a peer that is not trusted are left out: nobody behind us shall believe them either.
        X-Forwarded-* are read if there are any, else Forwarded. A proxy that writes one family must remove
        the other, which it would hand on as the client wrote it.
        """
        peer = origin.peer
        trusted = not isinstance(peer, tuple) or self.trusts(str(peer[0]))
        if self._secure_values is not None:
            return fields, self._with_scheme(self._secure_values, fields, origin) if trusted else origin
        if not trusted:
            if any(name in fields for name in FIELDS):
                fields = {name: value for name, value in fields.items() if name not in FIELDS}
            return fields, origin
        x_given = any(name in fields for name in X_FIELDS)
        hops = _x_hops(fields) if x_given else _forwarded_hops(fields.get("forwarded", ""))
        return fields, self._walk(hops, origin)

    @staticmethod
    def _with_scheme(values: Mapping[str, str], fields: Fields, origin: Origin) -> Origin:
        """Fields that contradict each other do not make it secure."""
        said = {fields[name] == value for name, value in values.items() if name in fields}
        if origin.scheme == "https" or not said:
            return origin
        return replace(origin, scheme="https" if said == {True} else "http")

    def _walk(self, hops: list[Hop], origin: Origin) -> Origin:
        """Take hops from the right for as long as whoever wrote them is trusted."""
        chosen: Hop | None = None
        peer = origin.peer
        for hop in reversed(hops[-HOPS_MAX_COUNT:]):
            chosen = hop
            node = _node(hop.address)
            if node is None:  # unknown, obfuscated (RFC 7239 6.2, 6.3) or malformed: nothing further is known
                break
            peer = node
            if not self.trusts(node[0]):
                break
        if chosen is None:
            return origin
        origin = replace(origin, peer=peer, scheme=SCHEMES.get(chosen.proto.lower(), origin.scheme))
        return _with_host(origin, chosen.host, chosen.port)


def _with_host(origin: Origin, host: str, port_text: str) -> Origin:
    """The origin with the host and port that a proxy names, as far as they are well-formed."""
    given = int(port_text) if re.fullmatch("[0-9]{1,5}", port_text) else 0
    match = HOST.match(host)
    authority, port, default_port = origin.authority, origin.port, DEFAULT_PORTS[origin.scheme]
    if match is None:
        match = HOST.match(authority)
    else:
        authority, port = host, int(match[2] or default_port)
    if 0 < given < 65536:
        port = given
        if match is not None and match[2] is None and given != default_port:
            authority = f"{authority}:{given}"
    if port is None:  # a proxy has spoken, but of no port: what the Host field says
        port = default_port if match is None else int(match[2] or default_port)
    return replace(origin, authority=authority, port=port)


def _values(field: str) -> tuple[int, list[str]]:
    """How many a list has, and the last of them: nobody walks further than those."""
    if not field:
        return 0, []
    last = field.rsplit(",", HOPS_MAX_COUNT)[-HOPS_MAX_COUNT:]
    return field.count(",") + 1, [value.strip() for value in last]


def _x_hops(fields: Fields) -> list[Hop]:
    """One hop per X-Forwarded-For entry, or a single one without an address.

    The other fields go with them entry by entry when there are as many; else their last entry, which our own
    peer has written, stands for every hop.
    """
    lists = [_values(fields.get(name, "")) for name in X_FIELDS]
    count = max(1, lists[0][0])
    last_count = min(count, HOPS_MAX_COUNT)
    columns = [
        last if total == count else (last[-1:] or [""]) * last_count  # their own number, or one for all
        for total, last in lists
    ]
    return [Hop(*row) for row in zip(*columns, strict=True)]


def _forwarded_hops(field: str) -> list[Hop]:
    """The elements of a Forwarded field; none when any of it is malformed (RFC 7239 4)."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    position = 0
    while position < len(field):
        match = PAIR.match(field, position)
        if match is None or match[1].lower() in pairs:
            return []
        name, token, quoted = match[1].lower(), match[2], match[3]
        pairs[name] = token if token is not None else QUOTED.sub(r"\1", quoted)
        position = match.end()
        if match[4] != ";":
            hops.append(Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
            pairs = {}
    return [] if pairs else hops


def _node(text: str) -> tuple[str, int] | None:
    """(address, port or 0) of "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80" or "2001:db8::1", else None."""
    match = NODE.match(text)
    host, port = (text, "") if match is None else (match[1] or match[2], match[3] or "")
    address = parse_address(host)
    return (
        None if address is None else (str(address), int(port) if port.isdigit() and int(port) < 65536 else 0)
    )
