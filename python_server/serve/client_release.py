"""Which release of the Socket.IO client for browsers is served; `make client` fetches it into the package.

Must not know: how it is fetched or served; it imports nothing of ours, since a source tree reads it too.
"""

from __future__ import annotations

from typing import Final

# npm's package `socket.io-client`, and its word for the bytes of that tarball.
VERSION: Final = "4.8.4"
TARBALL_INTEGRITY: Final = (
    "sha512-7wjKAvVXYOJsbmUgkWbnhPD4bFpkqrUR0++XOjpGFmqDqsqV1CI93VTraeExLxpjxEqrWgFoSRZu1ihjLWfkAA=="
)
# Of socket.io.min.js, as a page names it (Subresource Integrity).
SCRIPT_INTEGRITY: Final = "sha384-fBrXvbDtHoeKWJ/hcA6M+YGueiDW+h45I7V6F2kD1S8bOkrF9rZYPLVkCR6BLR/1"
CDN_TAG: Final = (
    f'<script src="https://cdn.socket.io/{VERSION}/socket.io.min.js" integrity="{SCRIPT_INTEGRITY}" '
    'crossorigin="anonymous"></script>'
)
# Those that the official server serves; beside each its map, for a browser's developer tools.
SCRIPTS: Final = ("socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js")
NAMES: Final = (*SCRIPTS, *(f"{name}.map" for name in SCRIPTS))
