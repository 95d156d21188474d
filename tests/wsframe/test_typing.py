"""The types: `_codec.pyi` against the build by stubtest, the package under mypy --strict, public names.

It must not repeat what mypy finds: it only runs it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wsframe
from wsframe import _pure

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
PACKAGE = Path(wsframe.__file__).parent


def run_module(*arguments: str, cwd: Path) -> str:
    # The folder that holds the package, wherever it was installed; site-packages is found without help.
    env = {**os.environ, "MYPYPATH": "" if PACKAGE.parent.name == "site-packages" else str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@needs_mypy
def test_the_stub_fits_the_build(tmp_path: Path) -> None:
    run_module("mypy.stubtest", "wsframe", cwd=tmp_path)


USES = """
from typing import assert_type
import wsframe
from wsframe import Close, Connection, Decoder, Fragment, Outbox, Ping, Pong, ProtocolError, Role
from wsframe import deflate, handshake

decoder = Decoder(Role.SERVER, max_message_bytes=10)
events = decoder.receive(bytearray(5), 3)
assert_type(events, list[str | bytes | Fragment | Ping | Pong | Close | ProtocolError])
assert_type(decoder.receive_buffer(), memoryview | None)
assert_type(wsframe.encode_frame(1, "text", b"1234"), bytes)
outbox = Outbox()
outbox.open(1000, [1].append, 2)
assert_type((outbox.send("text"), outbox.write(b""), outbox.take()), tuple[bool, bool, bytes])
assert_type(wsframe.apply_mask(memoryview(b""), b"1234"), bytes)
assert_type(wsframe.decode_header(b""), wsframe.Header | None)
accepted = handshake.accept("GET", (1, 1), [("a", "b")], deflate=deflate.Options())
assert_type(accepted.subprotocol, str | None)
connection = Connection(Role.SERVER, deflate=accepted.deflate)
assert_type(connection.receive_data(b""), list[str | bytes | Fragment | Ping | Pong | Close | ProtocolError])
assert_type(connection.close_code, int | None)
"""
MISUSES = """
import wsframe
wsframe.encode_frame("1", b"")
wsframe.Decoder()
wsframe.apply_mask(b"", "1234")
wsframe.Connection(wsframe.Role.SERVER).send_text(b"")
wsframe.Connection(wsframe.Role.SERVER).no_such_method()
"""


@needs_mypy
def test_a_user_under_strict(tmp_path: Path) -> None:
    """py.typed is installed: right uses pass, wrong ones are found."""
    (tmp_path / "uses.py").write_text(USES)
    run_module("mypy", "--strict", "uses.py", cwd=tmp_path)
    (tmp_path / "misuses.py").write_text(MISUSES)
    with pytest.raises(AssertionError) as found:
        run_module("mypy", "--strict", "misuses.py", cwd=tmp_path)
    assert "Found 5 errors" in str(found.value)


@needs_mypy
@pytest.mark.extended  # `make lint` says the same of the sources; this is of the files that were installed
def test_the_package_under_strict(tmp_path: Path) -> None:
    run_module("mypy", "--strict", "-p", "wsframe", cwd=tmp_path)


def test_both_cores_have_the_same_names() -> None:
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    for name in _pure.__all__:
        assert hasattr(codec, name)
        assert name == "Decoder" or hasattr(wsframe, name)
    outboxes = [{name for name in dir(core.Outbox) if not name.startswith("_")} for core in (codec, _pure)]
    assert outboxes[0] == outboxes[1]
    public = {name for name in dir(codec.Decoder) if not name.startswith("_")}
    assert public == {name for name in dir(_pure.Decoder) if not name.startswith("_")} | {"attention"}


def test_public_names_exist_once() -> None:
    assert len(set(wsframe.__all__)) == len(wsframe.__all__)
    for name in wsframe.__all__:
        assert getattr(wsframe, name) is not None
    assert wsframe.IMPLEMENTATION in ("cython", "python")
    assert wsframe.MASK_IMPLEMENTATION in ("sse2", "avx2", "neon", "words", "int")


def test_nothing_outside_the_standard_library_is_imported() -> None:
    """In a fresh interpreter, without site-packages but for wsframe itself."""
    script = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); "
        "import hashlib; "  # PyPy's own brings OpenSSL with sockets and threads
        "before = set(sys.modules); import wsframe; "
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "foreign = names - set(sys.stdlib_module_names) - {'wsframe', 'isal', 'zlib_ng', 'cython_runtime'}; "
        "foreign = {name for name in foreign if not name.startswith('_cython_')}; "
        "banned = names & {'socket', 'selectors', 'threading', 'time', 'logging', 'asyncio'}; "
        "sys.exit(repr(sorted(foreign | banned)) if foreign | banned else 0)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
