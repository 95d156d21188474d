"""The types of what events carry, and of the names of rooms.

Must not know: how a value is written, or who is in a room.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

# What a client or another process said, as `json.loads` gives it, with bytes anywhere within. What is sent is
# any `object`: the encoder refuses what JSON has no word for.
JSONValue: TypeAlias = Any

# Those that travel to other processes are text or whole numbers; a client's sid is the name of its own room.
RoomName: TypeAlias = Hashable
# How an `emit` says whom it is for: one of them, several, or None for everybody.
Rooms: TypeAlias = RoomName | Sequence[RoomName] | AbstractSet[RoomName] | None
