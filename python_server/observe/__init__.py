"""What is told to an operator: the log, the access log, counters.

Must not know: who counts, any protocol.
"""
