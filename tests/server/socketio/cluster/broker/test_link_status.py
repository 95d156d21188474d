"""Are the two links to the broker there (link_status.py); what is said of it: test_backplane.py.

It must not know links: their news are told to it.
"""

from python_server.socketio.cluster.broker.connections import BrokerLinkState
from python_server.socketio.cluster.broker.leader import Place
from python_server.socketio.cluster.broker.link_status import PUBLISH, SUBSCRIBE, LinkStatus
from python_server.socketio.cluster.port import BrokerOptions


def test_the_state_of_each_link_and_one_line_for_each_change_of_both() -> None:
    said: list[str] = []
    status = LinkStatus(
        BrokerOptions("redis://:secret@127.0.0.1:1/0", "c"),
        Place("host", 1, lambda: True),
        said.append,
        said.append,
    )
    assert not status.up(PUBLISH)
    status.changed(PUBLISH, BrokerLinkState.LOST, "refused")
    status.changed(SUBSCRIBE, BrokerLinkState.LOST, "refused")
    status.dropped_count = 3
    status.changed(PUBLISH, BrokerLinkState.UP, "")
    assert (status.up(PUBLISH), status.up(SUBSCRIBE), status.connected) == (True, False, False)
    status.changed(SUBSCRIBE, BrokerLinkState.UP, "")
    assert status.connected
    assert len(said) == 2
    assert "cannot be reached: refused" in said[0]
    assert "is there again; 3 messages have been dropped" in said[1]
    assert "secret" not in "".join(said)
