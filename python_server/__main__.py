"""`python -m python_server module:app`: the same as `wsframe serve module:app`.

Must not know: any option; the command line is cli.py's.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # what is imported stays: to look for garbage in it is a tenth of the start
    from python_server.command.cli import serve_command

    gc.enable()
    serve_command(prog_name="python -m python_server")
