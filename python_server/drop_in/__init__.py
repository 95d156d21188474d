"""Our implementations under other packages' names: a program for another server runs unchanged.

Must not know: options, command lines; what an event or a frame is.
"""
