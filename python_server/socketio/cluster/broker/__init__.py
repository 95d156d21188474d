"""Connects machines through a Redis or Valkey channel, with python-socketio's messages.

Must not know: sockets of clients, sessions, handlers.
"""
