"""Workers of one machine that know each other, without a supervisor and without processes.

It must not know what they say to each other.
"""

from python_server.net.link import pair
from python_server.workers.peers import Peers


def joined(*siblings: Peers) -> None:
    """Join each to each, as a supervisor would, all of them serving."""
    for place, first in enumerate(siblings):
        for second in siblings[place + 1 :]:
            ours, theirs = pair()
            first.join(second.index, ours, serving=True)
            second.join(first.index, theirs, serving=True)
    for each in siblings:
        each.begin(lambda: None)
