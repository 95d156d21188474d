"""Who watches sessions: several as one, told in turn (engineio/observer.py).

It must not know what an observer makes of it.
"""

from typing import Any
from unittest.mock import Mock, call

from python_server.engineio.observer import SessionObserver, all_of


def test_several_are_told_in_turn_and_nobody_costs_nothing() -> None:
    told = Mock()
    first: Any = told.first
    assert all_of([]) is None
    assert all_of([first]) is first
    both: Any = all_of([first, told.second])
    said: list[Any] = []
    for name in ("session_opened", "session_upgraded", "session_closed", "request_refused"):
        arguments = (name,) if name in ("session_opened", "session_upgraded") else (name, "why")
        getattr(both, name)(*arguments)
        said += [getattr(call.first, name)(*arguments), getattr(call.second, name)(*arguments)]
        assert hasattr(SessionObserver, name)
    assert told.mock_calls == said
