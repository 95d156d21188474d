"""Other packages' names for our own things: a program written for another server runs as it stands.

Must not know: options, command lines; what an event or a frame is.
"""
