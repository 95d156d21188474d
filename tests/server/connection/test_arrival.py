"""A handshake on its way through middleware (connection/arrival.py).

It must not know who sends it there.
"""

from typing import Any

from python_server.connection.arrival import KEY, Arrival, arrived


def test_a_handshake_is_taken_by_whom_it_is_for_alone() -> None:
    holder, other = object(), object()
    arrival = Arrival(holder)
    started: list[Any] = []
    environ = {KEY: arrival, "wsgi.x": "set by middleware"}
    for whom, there in ((other, environ), (holder, {}), (None, {})):
        assert not arrived(whom, there, lambda *said: started.append(said))
    assert (started, arrival.environ) == ([], None)
    assert arrived(holder, environ, lambda *said: started.append(said))
    assert started == [("200 OK", [("Content-Length", "0")])]
    assert arrival.environ is environ
