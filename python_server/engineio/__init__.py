"""Engine.IO protocol 4: sessions over long polling and WebSocket.

Must not know: event names, rooms, Flask, sockets.
"""
