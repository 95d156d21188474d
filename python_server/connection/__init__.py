"""One TCP connection from its acceptance to its end: HTTP exchanges, or the WebSocket that replaced them.

Must not know: what a path, a session or an event means.
"""
