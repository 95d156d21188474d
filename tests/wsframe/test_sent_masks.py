"""The masks of what a client sends (RFC 6455 section 5.3): fresh for each frame, in a fork's child as well.

It must not know where they come from, or how many are fetched at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

from wsframe import Opcode, Role, decode_header

# More than a store of masks holds, several times.
FRAMES_COUNT = 5_000
FORKS = """
import importlib, os, sys
from wsframe import Role, decode_header

encoder = importlib.import_module(sys.argv[1]).Encoder(Role.CLIENT)
masks = lambda count: b"".join(decode_header(encoder.encode(b"x")).mask for _ in range(count))
masks(3)
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, masks(20))
    os._exit(0)
os.wait()
print(masks(20).hex(), os.read(reading, 80).hex())
"""


def mask_of(frame: bytes) -> bytes:
    header = decode_header(frame)
    assert header is not None
    assert header.mask is not None
    return header.mask


def test_no_mask_is_foreseen(core: ModuleType) -> None:
    """Section 10.3: who has seen some must not know the next. Two may be equal by chance."""
    encoder = core.Encoder(Role.CLIENT)
    masks = []
    for number in range(FRAMES_COUNT):
        frame = encoder.encode_control(Opcode.PING, b"") if number % 3 == 0 else encoder.encode("x")
        masks.append(mask_of(frame))
        if number % 7 == 0:
            masks += [mask_of(encoder.encode_fragment("y", final)) for final in (False, True)]
    threes = set(zip(masks, masks[1:], masks[2:], strict=False))
    assert len(threes) == len(masks) - 2
    assert len(set(masks)) > len(masks) - 20
    for place in range(4):
        assert len({mask[place] for mask in masks}) == 256


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_masks_otherwise_than_its_parent(core: ModuleType) -> None:
    """What stood ready before the fork is the parent's."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, core.__name__], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = ([text[at : at + 8] for at in range(0, 160, 8)] for text in done.stdout.split())
    assert len(set(ours) & set(theirs)) <= 1
    assert ours != theirs
