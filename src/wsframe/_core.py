"""The one place that says which core runs: the compiled one, or the plain one of a WSFRAME_PURE=1 build.

It must not catch an import error: a compiled core that does not load is a broken installation.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("wsframe._pure_build") is None:
    from ._codec import (
        IMPLEMENTATION,
        MASK_IMPLEMENTATION,
        Decoder,
        Encoder,
        JoinCache,
        Outbox,
        apply_mask,
        apply_mask_inplace,
        decode_header,
        encode_frame,
        encode_header,
        encode_message,
    )
else:
    from ._pure import (
        IMPLEMENTATION,
        MASK_IMPLEMENTATION,
        Decoder,
        Encoder,
        JoinCache,
        Outbox,
        apply_mask,
        apply_mask_inplace,
        decode_header,
        encode_frame,
        encode_header,
        encode_message,
    )

__all__ = [
    "IMPLEMENTATION",
    "MASK_IMPLEMENTATION",
    "Decoder",
    "Encoder",
    "JoinCache",
    "Outbox",
    "apply_mask",
    "apply_mask_inplace",
    "decode_header",
    "encode_frame",
    "encode_header",
    "encode_message",
]
