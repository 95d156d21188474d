"""The APIs that programs import: those of Flask-SocketIO, python-socketio, python-engineio; emitter, server.

Must not know: selectors, frames, descriptors.
"""
