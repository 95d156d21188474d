"""What a mounted application says under another WSGI server, where our loop does not run.

Must not know: Flask, sessions, or which server it is beyond its name in the environ.
"""

from __future__ import annotations

from typing import Final

from python_server.observe import log
from python_server.wsgi.environ import Environ, StartResponse

_RUN_OURS: Final = (
    "its Socket.IO events need the server they came with: run `gunicorn -k python_server.GunicornWorker "
    "module:app` or `python -m python_server module:app`"
)
NEEDS_OWN_SERVER: Final = f"{_RUN_OURS} [other-server]"
# Where there is a SocketIO to be run.
RUNS_ITSELF: Final = f"{_RUN_OURS}, or call `socketio.run(app)` [other-server]"


class ForeignGuard:
    """Answers the path of a mount, with both slashes, with 501, and warns once."""

    def __init__(self, path: str, advice: str = NEEDS_OWN_SERVER) -> None:
        self._path = path
        self._advice = advice
        self._warned = False

    def answer(self, environ: Environ, start_response: StartResponse) -> list[bytes] | None:
        """The body of a 501 for a request below the path, None for every other request."""
        software = str(environ.get("SERVER_SOFTWARE", ""))  # a test client has none
        if software and not self._warned and not software.startswith("python_server/"):
            self._warned = True
            log.warn(f"this application is served by {software}: {self._advice}")
        if not environ.get("PATH_INFO", "").startswith(self._path):
            return None
        return not_implemented(self._advice, start_response)


def not_implemented(sentence: str, start_response: StartResponse) -> list[bytes]:
    """An answer 501, and its body."""
    body = f"{sentence}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("501 Not Implemented", headers)
    return [body]
