"""Machines joined by a Redis or Valkey channel, in python-socketio's messages.

Must not know: sockets of clients, sessions, handlers.
"""
