"""What programs ask python-engineio's server for besides events: its mode, queues and events of it, names.

Must not know: sessions, hubs, who asks.
"""

from __future__ import annotations

from typing import Any, Final

from python_server.api.options import ASYNC_MODES
from python_server.engineio.session_ids import SessionIds
from python_server.net.threads import Event, Queue, QueueEmpty

_NAMES: Final = SessionIds()


class ThreadWords:
    """All of one mode: ordinary threads."""

    async_mode = "threading"

    def async_modes(self) -> list[str]:
        """Return the values that `async_mode` may have; all of them mean threads.

            assert "threading" in server.async_modes()

        Returns: a list of them.
        """
        return [mode for mode in ASYNC_MODES if mode is not None]

    def is_asyncio_based(self) -> bool:
        """Tell whether the methods are coroutines.

            assert not server.is_asyncio_based()

        Returns: False.
        """
        return False

    def create_queue(self, *args: Any, **kwargs: Any) -> Queue[Any]:
        """Create a queue for threads.

            jobs = server.create_queue(maxsize=100)

        Returns: `Queue(*args, **kwargs)` of the standard library.
        """
        return Queue(*args, **kwargs)

    def get_queue_empty_exception(self) -> type[Exception]:
        """Return the exception that an empty queue raises.

            Empty = server.get_queue_empty_exception()

        Returns: a class of exceptions.
        """
        return QueueEmpty

    def create_event(self, *args: Any, **kwargs: Any) -> Event:
        """Create an event for threads.

            done = server.create_event()

        Returns: `Event(*args, **kwargs)` of the standard library.
        """
        return Event(*args, **kwargs)

    def generate_id(self) -> str:
        """Create an id that nobody can guess. The server does not use this method for session ids.

            token = server.generate_id()

        Returns: a str.
        """
        return _NAMES.make()
