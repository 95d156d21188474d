"""The loops of `_mask.h` and `_utf8.h` by themselves: programs in C try each width against a plain reading.

It must not know a loop: mask_kernel.c and utf8_kernel.c know them, and places in memory that objects of
Python's seldom have.
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
# What processors without vectors of ours have: here it is compiled as well.
WORDS = "-DWITH_WORDS"
# So many calls are at least tried: a program that tries none finds nothing.
LEAST_CALLS_COUNT = {"mask": 20_000_000, "utf8": 40_000_000}
PROGRAMS = list(LEAST_CALLS_COUNT)
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="pages that may not be touched, as Unix has them"),
    pytest.mark.skipif("WSFRAME_TEST_SANITIZED" in os.environ, reason="the compiler is not ours to sanitize"),
]


def compiled(tmp_path: Path, name: str, *flags: str) -> Path:
    program = tmp_path / name
    command = [outside_tool("cc"), *flags, "-Wall", "-Wextra", f"-I{HEADERS}", "-o", str(program)]
    done = subprocess.run(
        [*command, str(HERE / f"{name}_kernel.c")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def told(program: Path, *arguments: str) -> tuple[str, int]:
    """The vectors that are chosen at run time, the calls it has tried; what it finds fails the test."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    chosen, calls = done.stdout.split()
    return chosen, int(calls)


def has_sanitizers(tmp_path: Path) -> bool:
    source = tmp_path / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")
    program = tmp_path / "nothing"
    command = [outside_tool("cc"), *SANITIZERS, "-o", str(program), str(source)]
    # An emulated processor may run none of what they make.
    return all(
        subprocess.run(each, capture_output=True, check=False).returncode == 0
        for each in (command, [program])
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_vectors_of_this_processor(tmp_path: Path, name: str) -> None:
    """As the extension is built: which vectors run is what it says."""
    chosen, calls = told(compiled(tmp_path, name, "-O3"))
    if wsframe.IMPLEMENTATION == "cython" and name == "mask":
        assert chosen == wsframe.MASK_IMPLEMENTATION
    assert calls > LEAST_CALLS_COUNT[name]


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_vectors(tmp_path: Path, name: str) -> None:
    chosen, calls = told(compiled(tmp_path, name, "-O3", WORDS))
    assert chosen == "words"
    assert calls > LEAST_CALLS_COUNT[name] / 2


@pytest.mark.parametrize("width", [[], [WORDS]], ids=["vectors", "words"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_under_sanitizers(tmp_path: Path, name: str, width: list[str]) -> None:
    """AddressSanitizer and UBSan have nothing to say, of some of the calls."""
    if not has_sanitizers(tmp_path):
        pytest.skip("the compiler has no sanitizers, or they do not run here")
    _, calls = told(compiled(tmp_path, name, *SANITIZERS, *width), "few")
    assert calls > LEAST_CALLS_COUNT[name] / 100
