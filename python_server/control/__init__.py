"""The control socket: commands of the same user to the Socket.IO servers.

Must not know: frames, applications, how a worker is wired.
"""
