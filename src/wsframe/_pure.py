"""The codec in plain Python: the readable specification, the tests' oracle, the WSFRAME_PURE=1 build.

It must not do anything itself: its parts stand beside it. `_codec.pyx` has the same names, compiled.
"""

from ._pure_decoder import Decoder
from ._pure_encoder import Encoder
from ._pure_frames import (
    apply_mask,
    apply_mask_inplace,
    decode_header,
    encode_frame,
    encode_header,
    encode_message,
)
from ._pure_outbox import JoinCache, Outbox

IMPLEMENTATION = "python"
MASK_IMPLEMENTATION = "int"

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
