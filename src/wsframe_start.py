"""The `wsframe` console script: makes sure that `python_server` is ours, then hands over to its command line.

It must not know any command; it stands outside both packages because a clash of names hides one of them.

PYTEST_DONT_REWRITE: else pytest warns whoever calls it from a program that has imported this.
"""

import gc
import sys

# Without the server's packages: click would write the list of commands.
USAGE = """\
Usage: wsframe connect URL [OPTIONS]

  A WebSocket in the terminal: lines of the input are sent, messages are printed.
  `wsframe connect --help` shows the options.
"""


def main() -> None:
    """Run the command line, or say in one line which other package stands in its place, or what to install.

    `wsframe connect` is the codec's own, and needs no package.
    """
    if sys.argv[1:2] == ["connect"]:
        from wsframe.__main__ import main as connect

        sys.exit(connect())
    import python_server

    if getattr(python_server, "DISTRIBUTION", None) != "wsframe":
        sys.exit(
            f"Error: the package named python_server at {python_server.__file__} is not wsframe's; "
            "uninstall it (pip uninstall python-server) or move it away, then reinstall wsframe"
        )
    words = sys.argv[1:2]
    asks = words in ([], ["-h"], ["--help"])
    try:
        python_server.need_server("Every other command" if asks else f"wsframe {words[0]}")
    except ModuleNotFoundError as missing:
        if not asks:
            sys.exit(f"Error: {missing}")
        print(USAGE, missing, sep="\n")
        return
    gc.disable()  # as in python_server/__main__.py
    from python_server.command.cli import main as command_line
    from python_server.net.memory import spare_old_objects
    from python_server.serve.serve import ON_START

    ON_START.append(spare_old_objects)
    gc.freeze()
    gc.enable()
    command_line(prog_name="wsframe")
