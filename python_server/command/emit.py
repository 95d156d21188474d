"""`wsframe emit`: one event for the clients of a running server, from the command line.

Must not know: how a message travels; what a server does with it.
"""

from __future__ import annotations

import click

from python_server.api.emitter import EmitError, Emitter
from python_server.command.running import choosing, chosen
from python_server.socketio.cluster.broker.url import FLASK_CHANNEL, BrokerError
from python_server.socketio.jsoncodec import JSONError, loads


@click.command("emit")
@click.argument("event")
@click.argument("values", metavar="[JSON]...", nargs=-1)
@click.option(
    "--room", "rooms", multiple=True, help="A room or a sid; may be repeated. Default: all clients."
)
@click.option("--except", "excepted", multiple=True, help="A room or a sid to exclude; may be repeated.")
@click.option("--namespace", default="/", show_default=True)
@click.option("--path", help="Path of the Socket.IO server, if one process has several.")
@choosing
@click.option("--control", metavar="PATH", help="The same as --control-socket.")
@click.option("--url", metavar="URL", help="Emit through a broker (redis://...) to all its machines instead.")
@click.option("--channel", default=FLASK_CHANNEL, show_default=True, help="The broker's channel.")
def emit_command(
    event: str,
    values: tuple[str, ...],
    rooms: tuple[str, ...],
    excepted: tuple[str, ...],
    namespace: str,
    path: str | None,
    control: str | None,
    port: int | None,
    bind: str | None,
    control_socket: str | None,
    url: str | None,
    channel: str,
) -> None:
    """Send EVENT with its JSON arguments to the clients of a running server.

    For example: wsframe emit news '{"title": "hello"}' --room readers
    """
    arguments = []
    for value in values:
        try:
            arguments.append(loads(value))
        except JSONError as error:
            raise click.BadParameter(
                f"{value[:60]!r} is not JSON ({error}): a text needs its quotes too"
            ) from None
    control = control or control_socket
    if url is not None and control is not None:
        raise click.UsageError("--url and --control-socket exclude each other")
    target = url or f"unix:{control or chosen(port, bind, None).control}"
    try:
        with Emitter(target, channel, path=path) as emitter:
            emitter.emit(
                event,
                tuple(arguments),
                to=list(rooms) or None,
                except_rooms=list(excepted) or None,
                namespace=namespace,
            )
    except BrokerError as error:
        raise click.ClickException(str(error)) from None
    except EmitError as error:
        raise click.ClickException(f"{error} [emit-failed]") from None
