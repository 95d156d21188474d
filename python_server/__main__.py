"""`python -m python_server module:app`: the same as `wsframe serve module:app`.

Must not know: any option; the command line is cli.py's.
"""

import gc
import sys

from python_server import need_server

if __name__ == "__main__":
    try:
        need_server("python -m python_server")
    except ModuleNotFoundError as missing:
        sys.exit(f"Error: {missing}")
    gc.disable()  # what is imported stays: to look for garbage in it is a tenth of the start
    from python_server.command.cli import serve_command

    gc.enable()
    serve_command(prog_name="python -m python_server")
