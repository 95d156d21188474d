"""Whether a worker makes spans: by option, with the package and a provider (serve/tracing.py).

It must not know what a span is made of.
"""

import subprocess
import sys
from dataclasses import replace

import pytest

from python_server.net.sockets import BindError
from python_server.serve import tracing
from python_server.serve.serve import check_listening
from python_server.settings import Settings

ON = replace(Settings(), tracing=True)
IMPORTS = (
    "import sys; from python_server import SocketIO; import python_server.serve.worker as w; "
    "from python_server.settings import Settings; w.make_tracing(Settings(), []); "
    "print([name for name in sys.modules if name.startswith(('opentelemetry', 'asyncio'))])"
)


def test_a_missing_package_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    said = r'--tracing needs opentelemetry-api: pip install "wsframe\[otel\]"'
    for check in (tracing.check_tracing, check_listening, lambda given: tracing.make_tracing(given, [])):
        with pytest.raises(BindError, match=said):
            check(ON)
    check_listening(Settings())


def test_without_the_option_nothing_is_imported() -> None:
    """In a process of its own: the tests' has imported it. Nor asyncio, before there is a coroutine."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
