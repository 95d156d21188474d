"""Proofs of one secret: what they are over, and that nothing else passes for one (machines/proof.py).

It must not know connections.
"""

import hashlib
import hmac
from itertools import combinations
from typing import Any

import pytest

from python_server.machines.proof import Proofs, is_proof, sign, verify

SECRET, HELLO, CHALLENGE = b"of all machines", b"hello", b"challenge"


def test_a_proof_is_what_the_page_says() -> None:
    """RFC 2104, by the standard library alone: another language's machine could make it."""
    key = hmac.new(SECRET, b"wsframe cluster link 1", hashlib.sha256).digest()
    said = b"\0\0\0\5hellochallenge"
    proofs = Proofs(SECRET, HELLO, CHALLENGE)
    assert proofs.caller == hmac.new(key, b"caller" + said, hashlib.sha256).digest()
    assert proofs.called == hmac.new(key, b"called" + said, hashlib.sha256).digest()


def test_every_part_changes_both_proofs() -> None:
    said = [
        (SECRET, HELLO, CHALLENGE),
        (b"another", HELLO, CHALLENGE),
        (SECRET, b"hellp", CHALLENGE),
        (SECRET, HELLO, b"challengd"),
        (SECRET, b"hellochal", b"lenge"),  # the border counts
        (SECRET, b"", b"hellochallenge"),
        (b"", HELLO, CHALLENGE),
    ]
    made = [proof for each in said for proof in (Proofs(*each).caller, Proofs(*each).called)]
    assert all(one != other for one, other in combinations(made, 2))


@pytest.mark.parametrize("told", [None, "", b"", b"x" * 31, b"x" * 33, "x" * 32, 7, [b"x"], b"\0" * 32])
def test_what_is_no_proof(told: Any) -> None:
    assert not is_proof(told, b"x" * 32)
    assert is_proof(b"x" * 32, b"x" * 32)


@pytest.mark.parametrize("data", [b"", b"an entry", bytes(range(256))])
def test_what_was_signed_is_read_by_who_has_the_secret_for_that_purpose(data: bytes) -> None:
    signed = sign(SECRET, b"entries", data)
    assert verify(SECRET, b"entries", signed) == data
    assert verify(b"another", b"entries", signed) is None
    assert verify(SECRET, b"records", signed) is None
    for at in range(len(signed)):
        changed = bytearray(signed)
        changed[at] ^= 1
        assert verify(SECRET, b"entries", bytes(changed)) is None
        assert verify(SECRET, b"entries", signed[:at]) is None
    assert verify(SECRET, b"entries", signed + b"\0") is None
