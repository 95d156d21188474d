"""The way from a worker to gunicorn's arbiter, in the place of the link to a supervisor of ours.

Must not know: gunicorn's classes, how a worker serves or ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from python_server.gunicorn.generation import STAGE, Generation, Stage
from python_server.workers.link_messages import Succession, decode
from python_server.workers.peers import MessageKind
from python_server.workers.rendezvous import Rendezvous


@dataclass(slots=True)
class ArbiterLink:
    """Does what a supervisor would have done at each word (the SupervisorLink port).

    Attributes:
        generation, row: where siblings look what this worker does. rendezvous: where later ones will.
        arbiter: its process. replace: called when the worker has answered its requests.
    """

    generation: Generation
    row: int
    rendezvous: Rendezvous
    arbiter: int
    replace: Callable[[], object]
    queued_bytes: int = 0

    def send(self, kind: int, payload: bytes = b"") -> bool:
        if kind == MessageKind.READY:
            self.generation.write(self.row, STAGE, Stage.SERVING)
        elif kind == MessageKind.DRAINING:
            self.generation.write(self.row, STAGE, Stage.DRAINING)
        elif kind == MessageKind.SUCCESSOR:
            self.rendezvous.remember(decode(payload, type=Succession))
        elif kind == MessageKind.REPLACE_ME:
            self.replace()
        elif kind == MessageKind.STOP:
            os.kill(self.arbiter, signal.SIGTERM)
        return True

    def close(self) -> None:
        """There is nothing to be closed."""
