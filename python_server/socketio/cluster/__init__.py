"""Beyond one worker: rooms, acknowledgements and questions over pipes to siblings and through a broker.

Must not know: sockets of clients, sessions, handlers.
"""
