"""A life-cycle in one table: an enum whose members say which states may follow.

Must not know: whose life it is.
"""

from enum import Enum
from typing import Self, TypeVar

State = TypeVar("State", bound="StateEnum")


class StateEnum(Enum):
    """A state; a member is written as the names of those that may follow it.

    Its owner moves by `self.state = self.state.to(State.CLOSED)` alone.
    """

    following: tuple[str, ...]

    def __new__(cls, *following: str) -> Self:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)  # members of one value would be one member
        member.following = following
        return member

    def to(self, state: State) -> State:
        """`state`, which must be one that may follow; under `python -O` too."""
        if state._name_ not in self.following:
            raise AssertionError((self, state))
        return state
