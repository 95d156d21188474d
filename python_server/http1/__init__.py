"""HTTP/1.1 (RFC 9110, RFC 9112), sans-I/O: requests in, response heads and framing out.

Must not know: sockets, sessions, what an application answers.
"""
