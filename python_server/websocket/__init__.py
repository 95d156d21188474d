"""Raw WebSockets of applications, by path, as events.

Must not know: Engine.IO, Socket.IO, WSGI, sockets.
"""
