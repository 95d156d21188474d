"""PEP 3333: a request as an environ, the application in a thread, its answer; the WebSocket it may take.

Must not know: Engine.IO, Socket.IO, sockets, selectors.
"""
