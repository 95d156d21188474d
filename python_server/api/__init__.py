"""What programs import: Flask-SocketIO's, python-socketio's, python-engineio's words; emitter, server.

Must not know: selectors, frames, descriptors.
"""
