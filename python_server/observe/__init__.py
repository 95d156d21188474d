"""Information for operators: the log, the access log, counters.

Must not know: who counts, any protocol.
"""
