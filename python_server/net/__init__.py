"""Descriptors, clocks and threads: only this folder may use them.

Must not know: any protocol's name.
"""
