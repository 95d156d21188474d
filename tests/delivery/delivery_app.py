"""The application whose deliveries are counted: it tells each event to the speaker's room, or to everybody.

It must not know how many workers or clients there are; each process numbers what it tells each room.
"""

import os
import threading
from collections import Counter
from typing import Any

import flask

from python_server import SocketIO, emit, join_room

EVERYBODY = "everybody"
EVERYBODY_EACH = 50  # of a speaker's events, one in so many goes to everybody

app = flask.Flask(__name__)
# As docs/limits.md counts: 16,000 events a second, 512 bytes each with what their keeping costs, and eight
# seconds, for which a client may be away whose connection is cut again and again.
RECOVERY = {"max_bytes": 16_000 * 512 * 8}
socketio = SocketIO(app, connection_state_recovery=RECOVERY, message_queue=os.environ.get("BROKER"))
telling = threading.Lock()
places: Counter[str] = Counter()


@socketio.on("connect")
def connect(auth: dict[str, Any]) -> None:
    join_room(auth["room"])


@socketio.on("tell")
def tell(room: str, speaker: int, number: int) -> list[Any]:
    """The ack says that it is told, and under which place of which process."""
    if number % EVERYBODY_EACH == 0:
        room = EVERYBODY
    with telling:
        places[room] += 1
        place = places[room]
        told = [os.getpid(), room, place, speaker, number]
        if room == EVERYBODY:
            emit("told", told, broadcast=True)
        else:
            emit("told", told, to=room)
    return told[:3]
