"""Why a connection is not read from. The reasons stand beside each other; its transport keeps them.

Must not know: who gives them, and when.
"""

from enum import IntEnum


class Pause(IntEnum):
    """One bit each: what one room gives up, another may still want."""

    UNSERVED = 1  # nobody listens yet
    HANDSHAKE = 2  # a TLS handshake waits for its turn
    ENDED = 4  # the stream has ended, and stays readable for ever
    BODY = 8  # the application does not read the request's body
    PIPELINED = 16  # further requests wait behind a running one
    UNSENT = 32  # the client, or what a relay joins it with, does not take what waits for it
    MESSAGES = 64  # messages wait for their handler
    DETACHING = 128  # its socket is given away once what is queued has left
    TURN = 256  # messages that came at once are handed up in several turns of the loop
