"""socketify (uWebSockets in C++): `socketify_server.py PORT [deflate-]echo|[deflate-]broadcast|tls`.
A broadcast uses its topics; it must not know the load."""

import sys

import tls_files
from socketify import App, AppOptions, CompressOptions

job = sys.argv[2]
deflate = job.startswith("deflate")


def echo(socket, message, opcode):  # type: ignore[no-untyped-def]
    socket.send(message, opcode, deflate)


def joined(socket):  # type: ignore[no-untyped-def]
    if job.endswith("broadcast"):
        socket.subscribe("all")


def fan_out(socket, message, opcode):  # type: ignore[no-untyped-def]
    application.publish("all", message, opcode, deflate)


files = AppOptions(key_file_name=tls_files.KEY, cert_file_name=tls_files.CERTIFICATE)
application = App(files if job == "tls" else None)
application.ws(
    "/*",
    {
        "compression": CompressOptions.SHARED_COMPRESSOR if deflate else CompressOptions.DISABLED,
        "max_payload_length": 16 << 20,
        "max_backpressure": 64 << 20,
        "idle_timeout": 0,
        "open": joined,
        "message": fan_out if job.endswith("broadcast") else echo,
    },
)
application.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"}, lambda config: None)
application.run()
