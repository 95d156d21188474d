"""The fixtures of tests of the Socket.IO rooms.

It must not know how they work: socketio_world does.
"""

from socketio_world import make_world, vectors, world

__all__ = ["make_world", "vectors", "world"]
