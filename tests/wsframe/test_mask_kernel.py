"""The XOR loops of `_mask.h` by themselves: a program in C tries each width against a loop over bytes.

It must not know a loop: mask_kernel.c knows them, and the places in memory that Python's objects seldom have.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import wsframe
from outside_tools import outside_tool

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parents[1] / "src" / "wsframe"
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="pages that may not be touched, as Unix has them"),
    pytest.mark.skipif("WSFRAME_TEST_SANITIZED" in os.environ, reason="the compiler is not ours to sanitize"),
]


def compiled(tmp_path: Path, name: str, *flags: str) -> Path:
    program = tmp_path / name
    command = [outside_tool("cc"), *flags, "-Wall", "-Wextra", f"-I{HEADERS}", "-o", str(program)]
    done = subprocess.run(
        [*command, str(HERE / "mask_kernel.c")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def told(program: Path, *arguments: str) -> tuple[str, str, int]:
    """Its vectors, the ones chosen at run time, the calls it has tried; what it finds fails the test."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    base, chosen, calls = done.stdout.split()
    return base, chosen, int(calls)


def has_sanitizers(tmp_path: Path) -> bool:
    source = tmp_path / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [outside_tool("cc"), *SANITIZERS, "-o", str(tmp_path / "nothing"), str(source)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_vectors_of_this_processor(tmp_path: Path) -> None:
    """As the extension is built: which vectors run is what it says."""
    _, chosen, calls = told(compiled(tmp_path, "vectors", "-O3"))
    if wsframe.IMPLEMENTATION == "cython":
        assert chosen == wsframe.MASK_IMPLEMENTATION
    assert calls > 20_000_000


def test_words(tmp_path: Path) -> None:
    """What processors without vectors of ours have: here it is compiled as well."""
    base, _, calls = told(compiled(tmp_path, "words", "-O3", "-DWITH_WORDS"))
    assert base == "words"
    assert calls > 20_000_000


@pytest.mark.parametrize("width", [[], ["-DWITH_WORDS"]], ids=["vectors", "words"])
def test_under_sanitizers(tmp_path: Path, width: list[str]) -> None:
    """AddressSanitizer and UBSan have nothing to say, of fewer places in memory."""
    if not has_sanitizers(tmp_path):
        pytest.skip("the compiler has no sanitizers")
    _, _, calls = told(compiled(tmp_path, "sanitized", *SANITIZERS, *width), "few")
    assert calls > 1_000_000
