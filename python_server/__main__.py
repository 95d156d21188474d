"""`python -m python_server module:app`: the same as `wsframe serve module:app`.

Must not know: any option; the command line is cli.py's.
"""

from python_server.command.cli import serve_command

if __name__ == "__main__":
    serve_command(prog_name="python -m python_server")
