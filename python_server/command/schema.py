"""`wsframe schema`: the events of an application, as AsyncAPI or as TypeScript.

Must not know: what an annotation means, or how a document is made of it.
"""

from __future__ import annotations

import json
import os
from typing import IO

import click

from python_server.serve.loading import ApplicationError, load_application
from python_server.serve.mounts import find_site
from python_server.socketio.cluster.broker.url import BrokerError
from python_server.socketio.server import Hub


@click.command("schema")
@click.argument("target", metavar="MODULE:APP")
@click.option("--typescript", "as_typescript", is_flag=True, help="Write TypeScript's interfaces instead.")
@click.option("--path", help="Path of the Socket.IO server, if the application has several.")
@click.option("--app-dir", default="", help="Folder where MODULE is looked for.  [default: this folder]")
@click.option("--factory", is_flag=True, help="APP is a function that returns the application.")
@click.option("--title", help="Title of the document.  [default: MODULE:APP]")
@click.option("--api-version", default="1.0.0", show_default=True, help="Version of the document.")
@click.option(
    "--output", "-o", type=click.File("w", "utf-8", lazy=True), default="-", help="A file to write."
)
def schema_command(
    target: str,
    as_typescript: bool,
    path: str | None,
    app_dir: str,
    factory: bool,
    title: str | None,
    api_version: str,
    output: IO[str],
) -> None:
    """Write the events of an application as AsyncAPI 3, or as TypeScript.

    For example: wsframe schema shop:app --typescript -o events.ts
    """
    # Needed here alone, and this file is imported by every command.
    from python_server.api.event_schema import SchemaError, asyncapi, read_events
    from python_server.api.typescript import typescript

    try:
        hub = find_hub(target, os.path.abspath(app_dir), path, factory=factory)
        events, schemas = read_events(hub.handlers)
    except (ApplicationError, SchemaError) as error:
        raise click.ClickException(str(error)) from None
    if as_typescript:
        output.write(typescript(events, schemas))
    else:
        output.write(json.dumps(asyncapi(events, schemas, title or target, api_version), indent=2) + "\n")


def find_hub(target: str, app_dir: str, path: str | None, *, factory: bool) -> Hub:
    """The Socket.IO server of an application.

    Raises:
        ApplicationError: the application cannot be loaded; it has none, or several and none is chosen.
    """
    os.environ.setdefault("FLASK_RUN_FROM_CLI", "true")  # app.run() does nothing
    try:
        site = find_site(load_application(target, app_dir, factory=factory))
    except BrokerError as error:
        raise ApplicationError(str(error)) from None
    found = {mount.path.strip("/"): mount.hub for mount in site.mounts if mount.hub is not None}
    hubs = [hub for place, hub in found.items() if path is None or place == path.strip("/")]
    if len(hubs) == 1:
        return hubs[0]
    there = ", ".join(f"--path /{place}/" for place in found)
    if not found:
        raise ApplicationError(f"{target} has no Socket.IO server of python_server [no-events]")
    raise ApplicationError(f"name one Socket.IO server of {target}: {there} [no-events]")
