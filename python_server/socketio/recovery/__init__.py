"""Clients that were lost and come back: the log of what they missed, their rooms, their data.

Must not know: handlers, frames, how other processes are reached.
"""
