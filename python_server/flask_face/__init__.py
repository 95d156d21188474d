"""Flask-SocketIO's words on our own hub: SocketIO, Namespace, emit, the context of an event, the test client.

Must not know: frames, headers, descriptors.
"""
