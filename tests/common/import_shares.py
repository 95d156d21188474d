"""Which test modules each of several workers imports before all: what one has compiled, the others read.

It must not know any test. In a fresh clone the compiling of the tests, with pytest's assertions, takes longer
than all else of a collection, and without this each worker would do all of it.
"""

import sys

import pytest
from _pytest.pathlib import ImportMode, import_path  # the collection imports a module by the same function


def import_share(config: pytest.Config, worker: int, worker_count: int) -> None:
    """Import this worker's part; what cannot be imported is left to the collection, which tells why."""
    mode = ImportMode(config.getoption("importmode"))
    files = sorted(
        path for path in (config.rootpath / "tests").rglob("test_*.py") if "node_modules" not in path.parts
    )
    for path in files[worker::worker_count]:
        known = set(sys.modules)
        try:
            import_path(path, mode=mode, root=config.rootpath, consider_namespace_packages=False)
        except (Exception, pytest.skip.Exception):
            for name in set(sys.modules) - known:
                if getattr(sys.modules[name], "__file__", None) == str(path):
                    del sys.modules[name]
