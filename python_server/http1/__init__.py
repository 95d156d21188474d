"""HTTP/1.1 (RFC 9110, RFC 9112), sans-I/O: parses requests, writes response heads and framing.

Must not know: sockets, sessions, what an application answers.
"""
