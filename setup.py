"""Builds the one extension, wsframe._codec; its metadata stands in pyproject.toml.

It must not choose flags for the build machine: a wheel runs on any processor of its architecture.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CompileError, LinkError, PlatformError

PURE = os.environ.get("WSFRAME_PURE", "0") not in ("", "0")
SANITIZE = os.environ.get("WSFRAME_SANITIZE", "0") not in ("", "0")  # for tests/fuzz/sanitizers.sh only
NO_COMPILER = """
wsframe's compiled core could not be built: {error}
Install a C compiler and the Python headers (Debian: build-essential python3-dev), or set WSFRAME_PURE=1
to install the plain Python core instead. That costs speed: frames are parsed about 250 times slower.
"""


class BuildCore(build_ext):
    def run(self) -> None:
        try:
            super().run()
        except (CompileError, LinkError, PlatformError) as error:
            raise BaseError(NO_COMPILER.format(error=error)) from error


class BuildModules(build_py):
    """Leaves a marker module in a build that was asked to be pure; wsframe._core looks for it."""

    def run(self) -> None:
        super().run()
        root = Path("src") if self.editable_mode else Path(self.build_lib)
        marker = root / "wsframe" / "_pure_build.py"
        marker.unlink(missing_ok=True)
        if PURE:
            marker.write_text('"""This installation was built with WSFRAME_PURE=1."""\n')
        if not list(Path("python_server", "client").glob("*/LICENSE")):
            print("wsframe: built without the Socket.IO client, `make client` fetches it", file=sys.stderr)


flags: dict[str, Any] = {}
if SANITIZE:
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    sanitizers += ["-fno-omit-frame-pointer", "-g"]
    flags = {"extra_compile_args": [*sanitizers, "-O1"], "extra_link_args": sanitizers}
elif os.name == "posix":
    flags = {"extra_compile_args": ["-O3"]}
    if sys.platform == "linux":  # no debug information; the functions' names stay, for profilers
        flags["extra_link_args"] = ["-Wl,--strip-debug"]
headers = [str(path) for path in sorted(Path("src/wsframe").glob("*.h"))]
core = Extension("wsframe._codec", ["src/wsframe/_codec.pyx"], depends=headers, **flags)
classes = {"build_ext": BuildCore, "build_py": BuildModules}
setup(ext_modules=[] if PURE else [core], cmdclass=classes, **runpy.run_path("readme_on_index.py")["README"])
