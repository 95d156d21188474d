"""Life-cycles as enums (net/states.py), and the tables of those that this folder has.

It must not know what a state means.
"""

import pytest

from python_server.net.link import LinkState
from python_server.net.listener import ListenerState
from python_server.net.states import StateEnum
from python_server.net.tls import TLSPhase
from python_server.net.transport import TransportState


class Door(StateEnum):
    SHUT = "OPEN", "LOCKED"
    OPEN = "SHUT"
    LOCKED = "SHUT"
    GONE = ()


def test_members_with_the_same_followers_are_members_of_their_own() -> None:
    assert list(Door) == [Door.SHUT, Door.OPEN, Door.LOCKED, Door.GONE]
    assert Door.OPEN is not Door.LOCKED


def test_only_a_state_that_may_follow_is_moved_to() -> None:
    assert Door.SHUT.to(Door.OPEN) is Door.OPEN
    for before, after in [(Door.OPEN, Door.LOCKED), (Door.OPEN, Door.OPEN), (Door.GONE, Door.SHUT)]:
        with pytest.raises(AssertionError):
            before.to(after)


@pytest.mark.parametrize("states", [LinkState, ListenerState, TLSPhase, TransportState])
def test_a_table_names_states_that_exist_and_reaches_each(states: type[StateEnum]) -> None:
    reached = {name for state in states for name in state.following}
    assert {state.name for state in list(states)[1:]} <= reached <= set(states.__members__)
    assert states is TLSPhase or states["CLOSED"].following == ()
