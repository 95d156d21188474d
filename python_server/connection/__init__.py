"""One TCP connection from accept to close: HTTP exchanges, or the WebSocket that replaces them.

Must not know: what a path, a session or an event means.
"""
