"""The rules of a server's TLS: versions, ciphers, ALPN, names, resumption, clients' certificates, renewal.

It must not know sockets, nor what TLS carries: both ends are `ssl` objects on memory.
"""

import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from python_server.net.certificates import make_context
from python_server.settings import TLSSettings

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
KEYS = {"EC": trustme.KeyType.ECDSA, "RSA": trustme.KeyType.RSA}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def issue(folder: Path, name: str, *hosts: str, key: str = "EC") -> Path:
    """A file with a key and its certificate."""
    path = folder / f"{name}.pem"
    issued = AUTHORITY.issue_cert(*hosts or ("localhost",), key_type=KEYS[key])
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    """make(key="RSA", ...): a server's context as from the command line."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")

    def context(key: str = "EC", **rules: Any) -> ssl.SSLContext:
        if "cert_reqs" in rules:
            rules["ca_certs"] = str(tmp_path / "ca.pem")
        return make_context(TLSSettings(certfile=str(issue(tmp_path, key, key=key)), **rules), ["http/1.1"])

    return context


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False  # a test compares names itself
    AUTHORITY.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@dataclass(slots=True)
class Ends:
    """Both ends of a connection whose handshake is done."""

    server: ssl.SSLObject
    client: ssl.SSLObject

    @property
    def names(self) -> list[str]:
        shown: Any = self.client.getpeercert()
        return [name for _, name in shown["subjectAltName"]]


def shake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
) -> Ends:
    """The handshake, and what a server sends behind it; raises what either end says of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = Ends(
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name, session=session),
    )
    waiting = [ends.client, ends.server]
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    for end, other in ((ends.server, ends.client), (ends.client, ends.server)):
        end.write(b"x")  # with a ticket, in TLS 1.3
        assert other.read(1) == b"x"
    return ends


# What a client may offer, as bytes: no OpenSSL of today would offer the half of it.

GOOD = {"EC": 0xC02B, "RSA": 0xC02F}  # ECDHE with AES-128-GCM
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70  # RFC 8446 6


def hello(suites: list[int], version: int = 0x0303) -> bytes:
    """A ClientHello (RFC 5246 7.4.1.2) in one record: curves and signatures as every browser has them."""
    extensions = b"".join(
        struct.pack("!HHH", number, len(values) + 2, len(values)) + values
        for number, values in [
            (10, bytes.fromhex("001d00170018")),
            (13, bytes.fromhex("040308040401050308050501060308060601")),
        ]
    )
    extensions += bytes.fromhex("000b00020100")  # points are not compressed
    offered = struct.pack(f"!H{len(suites)}H", 2 * len(suites), *suites)
    body = struct.pack("!H", version) + bytes(range(32)) + b"\0" + offered + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", 22, 0x0301, len(message)) + message


def answer(context: ssl.SSLContext, sent: bytes) -> tuple[str, int]:
    """("hello", the suite that was chosen) or ("alert", its number)."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(sent)
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    said = outgoing.read()
    if said[0] == 21:
        return "alert", said[6]
    assert said[0] == 22
    behind_session = 44 + said[43]
    return "hello", int.from_bytes(said[behind_session : behind_session + 2], "big")


@pytest.mark.parametrize("key", KEYS)
def test_a_hello_of_tls_1_2_is_answered(make: Callable[..., ssl.SSLContext], key: str) -> None:
    """What the refusals below differ from."""
    assert answer(make(key), hello([GOOD[key]])) == ("hello", GOOD[key])


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("version", "alert"),
    [(0x0300, HANDSHAKE_FAILURE), (0x0301, PROTOCOL_VERSION), (0x0302, PROTOCOL_VERSION)],
)
def test_ssl_3_and_tls_before_1_2_are_refused(
    make: Callable[..., ssl.SSLContext], key: str, version: int, alert: int
) -> None:
    """RFC 8996; RFC 9325 3.1.1. SSL 3 has no alert of its own for this."""
    suites = [GOOD[key], 0xC009, 0xC013, 0x002F]  # the last three are of TLS 1.0
    assert answer(make(key), hello(suites, version)) == ("alert", alert)


WEAK_SUITES = {
    "without encryption": [0x0001, 0x0002, 0x003B, 0xC006, 0xC010],
    "without a certificate": [0x0018, 0x001B, 0x0034, 0x003A, 0x006C, 0x00A6, 0x00A7, 0xC016, 0xC018],
    "for export": [0x0003, 0x0006, 0x0008, 0x0014, 0x0017, 0x0062, 0x0064],
    "RC4": [0x0004, 0x0005, 0xC007, 0xC011],
    "DES and 3DES": [0x0009, 0x000A, 0x0015, 0x0016, 0xC008, 0xC012],
    "with SHA-1": [0x002F, 0x0033, 0x0035, 0x0039, 0xC009, 0xC00A, 0xC013, 0xC014],
    "keys that open what was recorded": [0x003C, 0x003D, 0x009C, 0x009D],  # RFC 9325 4.1
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", WEAK_SUITES)
def test_weak_ciphers_are_refused(make: Callable[..., ssl.SSLContext], key: str, kind: str) -> None:
    context = make(key)
    assert answer(context, hello(WEAK_SUITES[kind])) == ("alert", HANDSHAKE_FAILURE)
    assert answer(context, hello([*WEAK_SUITES[kind], GOOD[key]])) == ("hello", GOOD[key])


def test_the_servers_order_of_ciphers_decides(make: Callable[..., ssl.SSLContext]) -> None:
    context = make(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert answer(context, hello([0xC02B, 0xC02C])) == ("hello", 0xC02C)


@pytest.mark.parametrize("version", VERSIONS)
def test_tls_1_2_and_1_3_are_spoken(make: Callable[..., ssl.SSLContext], version: ssl.TLSVersion) -> None:
    ends = shake(make(), client_context(version))
    assert ends.server.version() == version.name.replace("_", ".")
    assert ends.server.compression() is None


def test_neither_compression_nor_renegotiation(make: Callable[..., ssl.SSLContext]) -> None:
    """RFC 9325 3.3, 3.5."""
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
        assert make().options & option


# ALPN


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.0", "h3", "http/1.1", "h2"], "http/1.1"),
        # RFC 7301 3.2 asks for an alert, for which Python's ssl has no word: as with uvicorn and gunicorn no
        # protocol is agreed on, and a client that speaks HTTP/2 alone ends, or is answered 505.
        (["h2"], None),
        (["ftp", "imap"], None),
        ([], None),
    ],
)
def test_alpn(make: Callable[..., ssl.SSLContext], offered: list[str], chosen: str | None) -> None:
    client = client_context()
    if offered:
        client.set_alpn_protocols(offered)
    ends = shake(make(), client)
    assert ends.client.selected_alpn_protocol() == ends.server.selected_alpn_protocol() == chosen


# Names


@pytest.mark.parametrize("name", ["localhost", "other.example", "127.0.0.1", None])
def test_the_one_certificate_is_shown_whatever_name_is_asked_for(
    make: Callable[..., ssl.SSLContext], name: str | None
) -> None:
    """As nginx's default server: who compares names is the client."""
    assert shake(make(), client_context(), name).names == ["localhost"]


def test_a_client_that_compares_names_leaves(make: Callable[..., ssl.SSLContext]) -> None:
    client = client_context()
    client.check_hostname = True
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(make(), client, "other.example")


def test_a_context_of_ones_own_may_have_a_certificate_for_each_name(
    make: Callable[..., ssl.SSLContext], tmp_path: Path
) -> None:
    context = make()
    shop = make_context(TLSSettings(certfile=str(issue(tmp_path, "shop", "shop.example"))), ["http/1.1"])

    def choose(connection: Any, name: str | None, first: ssl.SSLContext) -> None:
        connection.context = shop if name == "shop.example" else first

    context.sni_callback = choose  # type: ignore[assignment]
    assert shake(context, client_context(), "shop.example").names == ["shop.example"]
    assert shake(context, client_context(), "localhost").names == ["localhost"]
    assert shake(context, client_context(), None).names == ["localhost"]


# Resumption


@pytest.mark.parametrize("clients", [{}, {"cert_reqs": "required"}], ids=["anyone", "with a certificate"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_by_its_ticket(
    make: Callable[..., ssl.SSLContext], version: ssl.TLSVersion, clients: dict[str, str]
) -> None:
    server, client = make(**clients), client_context(version)
    AUTHORITY.issue_cert("client@example.org").configure_cert(client)
    first = shake(server, client)
    assert first.client.session is not None
    assert first.client.session.has_ticket
    again = shake(server, client, session=first.client.session)
    assert (first.server.session_reused, again.server.session_reused) == (False, True)
    assert again.server.getpeercert(True) == first.server.getpeercert(True)


def test_a_client_without_tickets_resumes_by_its_session_id(make: Callable[..., ssl.SSLContext]) -> None:
    server, client = make(), client_context(ssl.TLSVersion.TLSv1_2)
    client.options |= ssl.OP_NO_TICKET
    first = shake(server, client)
    assert shake(server, client, session=first.client.session).server.session_reused


@pytest.mark.parametrize("clients", [{}, {"cert_reqs": "required"}], ids=["anyone", "with a certificate"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_of_another_process_costs_a_whole_handshake_and_nothing_else(
    make: Callable[..., ssl.SSLContext], version: ssl.TLSVersion, clients: dict[str, str]
) -> None:
    """Another worker, or the same one after a renewal: the key of the tickets is no process' but its own."""
    client = client_context(version)
    AUTHORITY.issue_cert("client@example.org").configure_cert(client)
    ticket = shake(make(**clients), client).client.session
    elsewhere = make(**clients)
    assert not shake(elsewhere, client, session=ticket).server.session_reused
    # Who was let in by another context, without a certificate, is not let in here by the ticket of that.
    if clients:
        unknown = client_context(version)
        with pytest.raises(ssl.SSLError):
            shake(elsewhere, unknown, session=shake(make(), unknown).client.session)


# Clients' certificates


def shown_by(kind: str, client: ssl.SSLContext) -> None:
    if kind == "ours":
        AUTHORITY.issue_cert("client@example.org").configure_cert(client)
    elif kind == "of a stranger":
        STRANGER.issue_cert("client@example.org").configure_cert(client)
    elif kind == "expired":
        old = AUTHORITY.issue_cert("c@example.org", not_before=YESTERDAY - timedelta(1), not_after=YESTERDAY)
        old.configure_cert(client)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("rule", "kind", "refusal"),
    [
        ("none", "nothing", None),
        ("none", "of a stranger", None),  # it is not asked for
        ("optional", "nothing", None),
        ("optional", "ours", None),
        ("optional", "of a stranger", "CERTIFICATE_VERIFY_FAILED"),
        ("optional", "expired", "CERTIFICATE_VERIFY_FAILED"),
        ("required", "nothing", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("required", "ours", None),
        ("required", "of a stranger", "CERTIFICATE_VERIFY_FAILED"),
        ("required", "expired", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_whose_certificate_a_client_may_show(
    make: Callable[..., ssl.SSLContext], version: ssl.TLSVersion, rule: str, kind: str, refusal: str | None
) -> None:
    server, client = make(cert_reqs=rule), client_context(version)
    shown_by(kind, client)
    if refusal is None:
        assert bool(shake(server, client).server.getpeercert(True)) is (kind == "ours")
        return
    with pytest.raises(ssl.SSLError) as caught:
        shake(server, client)
    assert caught.value.reason == refusal


# Renewal


def test_a_program_renews_the_certificate_of_its_own_context(
    make: Callable[..., ssl.SSLContext], tmp_path: Path
) -> None:
    """Without a new process: connections that are open keep theirs, sessions are resumed."""
    context, client = make(), client_context()
    before = shake(context, client)
    context.load_cert_chain(issue(tmp_path, "new", "localhost", "new.example"))
    after = shake(context, client)
    assert (before.names, after.names) == (["localhost"], ["localhost", "new.example"])
    before.server.write(b"still")
    assert before.client.read(5) == b"still"
    assert shake(context, client, session=before.client.session).server.session_reused


def test_a_context_whose_new_files_do_not_fit_has_none(
    make: Callable[..., ssl.SSLContext], tmp_path: Path
) -> None:
    """Why docs/how-to/tls.md has a program try them on another context first."""
    context = make()
    AUTHORITY.issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.key")
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        context.load_cert_chain(issue(tmp_path, "new"), tmp_path / "other.key")
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shake(context, client_context())
