"""Recovery of clients that lost their connection: the log of missed events, their rooms, their data.

Must not know: handlers, frames, how other processes are reached.
"""
