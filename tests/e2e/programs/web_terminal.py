"""A terminal in a page: a shell on a pseudo terminal, read by a background task (pyxtermjs style).

It must not know which server runs it.
"""

import argparse
import fcntl
import os
import pty
import select
import shlex
import struct
import subprocess
import termios

from flask import Flask
from flask_socketio import SocketIO

app = Flask(__name__, template_folder=".", static_folder=".", static_url_path="")
app.config["SECRET_KEY"] = "secret!"
app.config["fd"] = None
app.config["child_pid"] = None
socketio = SocketIO(app)


def set_winsize(fd, row, col, xpix=0, ypix=0):
    winsize = struct.pack("HHHH", row, col, xpix, ypix)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, winsize)


def read_and_forward_pty_output():
    max_read_bytes = 1024 * 20
    while True:
        socketio.sleep(0.01)
        if app.config["fd"]:
            timeout_sec = 0
            (data_ready, _, _) = select.select([app.config["fd"]], [], [], timeout_sec)
            if data_ready:
                try:
                    output = os.read(app.config["fd"], max_read_bytes).decode(errors="ignore")
                except OSError:  # the shell has ended
                    os.waitpid(app.config["child_pid"], 0)
                    app.config["fd"] = app.config["child_pid"] = None
                    socketio.emit("pty-ended", namespace="/pty")
                    return
                socketio.emit("pty-output", {"output": output}, namespace="/pty")


@app.route("/")
def index():
    return "terminal"


@socketio.on("pty-input", namespace="/pty")
def pty_input(data):
    """write to the child pty. The pty sees this as if you are typing in a real terminal."""
    if app.config["fd"]:
        os.write(app.config["fd"], data["input"].encode())


@socketio.on("resize", namespace="/pty")
def resize(data):
    if app.config["fd"]:
        set_winsize(app.config["fd"], data["rows"], data["cols"])


@socketio.on("connect", namespace="/pty")
def connect():
    """new client connected"""
    if app.config["child_pid"]:
        # already started child process, don't start another
        return

    # create child process attached to a pty we can read from and write to
    (child_pid, fd) = pty.fork()
    if child_pid == 0:
        # this is the child process fork.
        # anything printed here will show up in the pty, including the output
        # of this subprocess
        subprocess.run(app.config["cmd"])
        os._exit(0)
    else:
        # this is the parent process fork.
        # store child fd and pid
        app.config["fd"] = fd
        app.config["child_pid"] = child_pid
        set_winsize(fd, 50, 50)
        socketio.start_background_task(target=read_and_forward_pty_output)


def main():
    parser = argparse.ArgumentParser(description="A fully functional terminal in your browser.")
    parser.add_argument("-p", "--port", default=int(os.environ.get("PORT", 5000)), type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--command", default="sh")
    parser.add_argument("--cmd-args", default="", help="arguments to pass to command")
    args = parser.parse_args()
    app.config["cmd"] = [args.command] + shlex.split(args.cmd_args)
    socketio.run(app, debug=False, port=args.port, host=args.host)


if __name__ == "__main__":
    main()
else:
    app.config["cmd"] = ["sh"]
