"""Life-cycles as enums (net/states.py), and the tables of all that the server has.

It must not know what a state means.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest

import python_server
from python_server.net.states import StateEnum

SERVER = Path(python_server.__file__).parent
LIVES = [
    getattr(import_module("python_server." + ".".join(path.relative_to(SERVER).with_suffix("").parts)), name)
    for path in sorted(SERVER.rglob("*.py"))
    for name in re.findall(r"^class (\w+)\(StateEnum\)", path.read_text("utf-8"), re.MULTILINE)
]


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


@pytest.mark.parametrize("states", LIVES, ids=lambda states: states.__name__)
def test_a_table_names_states_that_exist_and_reaches_each(states: type[StateEnum]) -> None:
    reached = {name for state in states for name in state.following}
    assert {state.name for state in list(states)[1:]} <= reached <= set(states.__members__)


def test_all_lives_are_looked_at() -> None:
    assert len(LIVES) >= 15
