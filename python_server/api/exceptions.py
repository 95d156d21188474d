"""What handlers raise and catch, under python-socketio's name for it: `exceptions`.

Must not know: who raises or catches it.
"""

from python_server.api.server_methods import ConnectionRefusedError

TimeoutError = TimeoutError
__all__ = ["ConnectionRefusedError", "TimeoutError"]
