"""The control socket: lines of this user, and what they ask of the Socket.IO servers.

Must not know: frames, applications, how a worker is wired.
"""
