"""The command line: `wsframe serve`, `wsframe emit`, `flask run`, and their options.

Must not know: how a request is answered, what an event means.
"""
