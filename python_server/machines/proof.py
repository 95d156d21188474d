"""The proof that both ends of a connection of the cluster have the same secret (RFC 2104). Sans-I/O.

Must not know: connections, what is said after it.

Who calls proves itself first: whoever finds the cluster's port learns nothing, and can guess at nothing.
Each proof is over what both have made up for this connection alone, and over what the caller wants: none
can be said again elsewhere, or sent back to who has made it.
"""

from __future__ import annotations

import hmac
from typing import Final

DIGEST: Final = "sha256"
NONCE_BYTES: Final = 32
# The secret is used for other things too, each with a key of its own.
PURPOSE: Final = b"wsframe cluster link 1"
CALLER: Final = b"caller"
CALLED: Final = b"called"


class Proofs:
    """Of one connection.

    Args:
        secret: the cluster's. hello: the caller's first frame. challenge: the answer to it.
    """

    def __init__(self, secret: bytes, hello: bytes, challenge: bytes) -> None:
        key = hmac.digest(secret, PURPOSE, DIGEST)
        said = len(hello).to_bytes(4, "big") + hello + challenge
        self.caller: bytes = hmac.digest(key, CALLER + said, DIGEST)
        self.called: bytes = hmac.digest(key, CALLED + said, DIGEST)


def is_proof(told: object, expected: bytes) -> bool:
    """In the same time for all that are not."""
    return isinstance(told, bytes) and hmac.compare_digest(told, expected)


def sign(secret: bytes, purpose: bytes, data: bytes) -> bytes:
    """`data` behind its HMAC."""
    return hmac.digest(hmac.digest(secret, purpose, DIGEST), data, DIGEST) + data


def verify(secret: bytes, purpose: bytes, signed: bytes) -> bytes | None:
    """What `sign` was given, None where it was not."""
    size_bytes = len(hmac.digest(b"", b"", DIGEST))
    digest, data = signed[:size_bytes], signed[size_bytes:]
    expected = hmac.digest(hmac.digest(secret, purpose, DIGEST), data, DIGEST)
    return data if hmac.compare_digest(digest, expected) else None
