"""The build: what an install without a compiler says, what WSFRAME_PURE=1 gives; no fallback is silent.

It must not touch the installed build: each test builds a copy of the sources in a folder of its own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_build_tools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("Cython") is None,
    reason="setuptools and Cython are not installed here",
)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    place = tmp_path / "sources"
    place.mkdir()
    for name in ("setup.py", "readme_on_index.py", "README.md"):
        shutil.copy(ROOT / name, place)
    # Only the codec: its build is what is tested.
    (place / "pyproject.toml").write_text(
        '[project]\nname = "wsframe"\nversion = "0"\ndynamic = ["readme"]\n'
        '[tool.setuptools]\npackages = ["wsframe"]\n'
        'package-dir = { wsframe = "src/wsframe" }\n[project.urls]\nSource = "https://host/us"\n'
    )
    ignored = shutil.ignore_patterns("*.c", "*.so", "__pycache__", "_pure_build.py")
    shutil.copytree(ROOT / "src", place / "src", ignore=ignored)
    return place


def setup(sources: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", "out", "--build-lib", "lib"],
        cwd=sources,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


def imported(lib: Path, code: str) -> subprocess.CompletedProcess[str]:
    script = f"import sys; sys.path.insert(0, {str(lib)!r}); {code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@needs_build_tools
@pytest.mark.skipif(os.name != "posix", reason="sets CC, which only Unix compilers obey")
def test_without_a_compiler_the_install_says_what_to_do(sources: Path) -> None:
    done = setup(sources, CC="/nonexistent/cc", WSFRAME_PURE="0")
    assert done.returncode != 0
    assert "WSFRAME_PURE=1" in done.stderr
    assert "costs speed" in done.stderr


@needs_build_tools
def test_the_pure_build_is_asked_for(sources: Path) -> None:
    done = setup(sources, CC="/nonexistent/cc", WSFRAME_PURE="1")
    assert done.returncode == 0, done.stderr
    assert not list((sources / "lib").rglob("_codec.c*"))
    told = imported(sources / "lib", "import wsframe; print(wsframe.IMPLEMENTATION, wsframe.__file__)")
    assert told.stdout.startswith("python " + str(sources / "lib")), told.stderr


@needs_build_tools
def test_a_broken_build_is_no_pure_build(sources: Path) -> None:
    """Without the extension, and without the mark of a pure build, the import fails."""
    shutil.copytree(sources / "src" / "wsframe", sources / "lib" / "wsframe")
    told = imported(sources / "lib", "import wsframe")
    assert told.returncode != 0
    assert "ImportError" in told.stderr or "ModuleNotFoundError" in told.stderr


def test_no_flag_of_the_build_machine() -> None:
    """A wheel runs on any processor of its architecture."""
    text = (ROOT / "setup.py").read_text()
    for flag in ("-march", "-mtune", "-mavx", "/arch", "native"):
        assert flag not in text
    assert len(text.splitlines()) <= 60
