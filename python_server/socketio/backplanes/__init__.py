"""Backplanes: how rooms reach beyond one worker, over pipes to siblings and through a broker to machines.

Must not know: sockets of clients, sessions, handlers.
"""
