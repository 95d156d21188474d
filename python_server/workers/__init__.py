"""Several workers on one machine: how they start and end, reach each other, and hand connections over.

Must not know: rooms, events, applications.
"""
