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
    # What is imported stays: to look for garbage in it is a fifth of the time of a start and its end.
    gc.disable()
    from python_server.command.cli import serve_command
    from python_server.net.memory import spare_old_objects
    from python_server.serve.serve import ON_START

    ON_START.append(spare_old_objects)  # and once more, with the application
    gc.freeze()
    gc.enable()
    serve_command(prog_name="python -m python_server")
