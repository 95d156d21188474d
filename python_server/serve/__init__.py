"""Serving an application: the wiring of one worker, the supervisor of many, loading, reloading, routing.

Must not know: any rule of any protocol.
"""
