"""Runs a program as if only the named asynchronous stack were installed: python stock.py STACK PROGRAM ...

It must not know any program. Flask-SocketIO takes the first stack that it finds, whatever a program wants.
"""

import os
import pty
import runpy
import sys

STACKS = {"threading": (), "gevent": ("gevent", "geventwebsocket"), "eventlet": ("eventlet",)}

if __name__ == "__main__":
    stack, program, *arguments = sys.argv[1:]
    for other in {name for names in STACKS.values() for name in names} - set(STACKS[stack]):
        sys.modules[other] = None  # type: ignore[assignment]
    sys.stdin = os.fdopen(pty.openpty()[1])  # Flask-SocketIO starts Werkzeug's server at a terminal only
    sys.path[0] = "."
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
