"""Serves an application: construction of a worker, the supervisor's start, loading, reloading, routing.

Must not know: any rule of any protocol.
"""
