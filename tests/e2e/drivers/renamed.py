"""Runs a program as if it, and the packages that it imports, said python_server instead of flask_socketio.

It must not know any program.
"""

import runpy
import sys

import python_server

if __name__ == "__main__":
    sys.modules["flask_socketio"] = python_server
    sys.argv = sys.argv[1:]
    sys.path[0] = "."
    runpy.run_path(sys.argv[0], run_name="__main__")
