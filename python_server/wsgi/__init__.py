"""PEP 3333: environ, the application in a thread, its response; the WebSocket that it may open.

Must not know: Engine.IO, Socket.IO, sockets, selectors.
"""
