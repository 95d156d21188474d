"""Several workers on one machine: their birth, their view of each other, connections on their way home.

Must not know: rooms, events, applications.
"""
