"""`wsframe` and `flask run` at the command line: options, what to serve, reloading, one event from a shell.

Must not know: how a request is answered, what an event means.
"""
