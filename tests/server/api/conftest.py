"""The fixtures of tests of what programs import.

It must not know how they work: socketio_world does.
"""

from served_server import served
from socketio_world import make_world, vectors, world

__all__ = ["make_world", "served", "vectors", "world"]
