"""Rooms, acknowledgements and questions across workers and machines, over pipes and through a broker.

Must not know: sockets of clients, sessions, handlers.
"""
