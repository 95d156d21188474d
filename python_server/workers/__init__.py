"""Several workers on one machine: starting and stopping them, links, passing connections.

Must not know: rooms, events, applications.
"""
