"""For tests of what CPython counts: references to an object, the bytes of an object or of a piece of work.

It must not know what is counted. PyPy counts none of it: these tests are skipped there.
"""

import sys

import pytest

try:
    import tracemalloc
except ModuleNotFoundError:
    tracemalloc = None  # type: ignore[assignment]

__all__ = ["counts_memory", "tracemalloc"]

counts_memory = pytest.mark.skipif(
    not hasattr(sys, "getrefcount"), reason="this Python counts neither references nor bytes"
)
