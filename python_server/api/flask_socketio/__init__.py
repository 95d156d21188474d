"""Flask-SocketIO's API: SocketIO, Namespace, emit, the context of an event, the test client.

Must not know: frames, headers, descriptors.
"""
