"""Descriptors, clocks and threads: the only rooms that may touch them.

Must not know: any protocol's name.
"""
