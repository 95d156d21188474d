"""The command line: arguments, environment and TOML become settings and a site; `wsframe serve`.

Must not know: how anything is served, or how an application is found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from python_server.command.connect import connect_command
from python_server.command.emit import emit_command
from python_server.command.explain import explain_command
from python_server.command.operate import dump_command, reload_command, stop_command
from python_server.command.options import (
    APPLICATION,
    DEFAULTS,
    OPTIONS,
    assignment,
    default_of,
    with_setting,
)
from python_server.command.schema import schema_command
from python_server.command.sources import CONFIG_VARIABLE, read_config, refuse_misspelt, shown_config
from python_server.command.status import status_command
from python_server.command.top import top_command
from python_server.command.welcome import site as welcome_site
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.proxy_headers import ProxyRules
from python_server.drop_in.installing import install, run_script, say_what_drop_in_gains
from python_server.net.certificates import CertificateError
from python_server.net.portability import UNIX
from python_server.net.sockets import BindError
from python_server.net.system import REAL
from python_server.observe.access_log import AccessLog
from python_server.observe.log import LogError, check_log_files
from python_server.observe.log_config import use_log_config
from python_server.serve.loading import (
    ApplicationError,
    import_string,
    load_application,
    other_python_server,
    with_debugger,
)
from python_server.serve.mounts import Site, find_site
from python_server.serve.reexec import GOOD, Reexec
from python_server.serve.reloaded import is_reloaded
from python_server.serve.reloader import Watched, end_with_reloader, reloads, run_reloading
from python_server.serve.serve import (
    ON_START,
    check_listening,
    is_supervisor,
    public_address,
    serve,
    supervise,
)
from python_server.settings import Settings
from python_server.socketio.cluster.broker.url import BrokerError
from python_server.workers.spawn import is_worker

# By the parameter's name; --config is the command's own.
HEADINGS: Final = {"config": APPLICATION} | {option.name: option.group for option in OPTIONS}
OTHER: Final = "Other"
VARIABLES: Final = frozenset(option.environment for option in OPTIONS)
# What the command line decides for a script that starts its server itself.
OPTIONS_OF_SCRIPTS: Final = frozenset({"drop_in", "drop_in_parallel", "env_file"})
# Where the command's context keeps what stands behind the script.
SCRIPT_ARGUMENTS: Final = "python_server.script_arguments"
HELP: Final = {"help_option_names": ["-h", "--help"]}


class NamedOption(click.Option):
    """An option that is named in a mistake as it was given: click would name the variable always."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        hint = click.Parameter.get_error_hint(self, ctx)
        if ctx is not None and ctx.get_parameter_source(self.name or "") is ParameterSource.ENVIRONMENT:
            hint = f"{' or '.join(self.envvar or ())} in the environment ({hint})"
        return hint


def add_options(command: Callable[..., object]) -> Callable[..., object]:
    """Decorator: give a click command all options of the table."""
    for option in reversed(OPTIONS):
        default = default_of(option)
        command = click.option(
            *option.flags,
            option.name,
            cls=NamedOption,
            help=option.help,
            type=None if option.kind is bool else option.kind,
            is_flag=option.kind is bool,
            default=default,
            show_default=default not in (None, False, (), ""),
            multiple=option.multiple,
            metavar=option.metavar,
            envvar=[option.environment, *option.other_environment],
            show_envvar=True,
        )(command)
    return command


class GroupedCommand(click.Command):
    """A command whose help shows its options under headings; what stands behind a script is the script's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with_value = [parameter.opts for parameter in self.params if not getattr(parameter, "is_flag", True)]
        takers = frozenset(chain(*with_value))
        pairs = enumerate(zip(["", *args], args, strict=False))  # each word with the one before it
        places = (place for place, (before, word) in pairs if is_script(word) and before not in takers)
        script = next(places, len(args))
        ctx.meta[SCRIPT_ARGUMENTS] = args[script + 1 :]
        return super().parse_args(ctx, args[: script + 1])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*HEADINGS.values(), OTHER)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups[HEADINGS.get(parameter.name or "", OTHER)].append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


@click.command("serve", cls=GroupedCommand, context_settings=HELP)
@click.argument("target", metavar="[MODULE:APP]", required=False)
@click.option(
    "--config",
    help="TOML file; its keys are these options' names.",
    metavar="FILE",
    cls=NamedOption,
    envvar=[CONFIG_VARIABLE],
    show_envvar=True,
    is_eager=True,
    expose_value=False,
    callback=read_config,
)
@add_options
@click.version_option(metadata.version("wsframe"), prog_name="wsframe")
def serve_command(target: str | None, **options: Any) -> None:
    """Serve a WSGI application with its Socket.IO events and WebSockets.

    MODULE:APP names the application, for example `shop.web:app`. Without it a page with a live
    WebSocket echo is served. Every option may also be given in the environment (WSFRAME_PORT=9000) and
    in a TOML file (port = 9000). With --drop-in a script that starts its server itself may stand in the
    place of MODULE:APP (app.py and its arguments).
    """
    other = other_python_server()
    if other is not None:
        raise click.ClickException(
            f"another package named python_server is on the path: {other}; "
            "uninstall it (pip uninstall python-server) or move it away [another-python-server]"
        )
    try:
        if target is not None and is_script(target):
            serve_script(target, options)
            return
        if target is None and options["factory"]:
            raise click.UsageError("--factory: of what application? Write module:create_app")
        refuse_misspelt(os.environ)
        settings = make_settings(options)
        refuse_public_debug(settings)
        if options["print_config"]:
            click.echo("\n".join(shown_config(click.get_current_context(), os.environ)))
            return
        use_log_config(settings.log_config)  # before the application, which may change it
        if not options["check_config"] and reloads(options["reload"]):
            folders = options["reload_dir"] or (options["app_dir"],)
            watched = Watched(
                [os.path.abspath(folder) for folder in folders],
                ignored=paths_like(options["reload_exclude"]),
                included=paths_like(options["reload_include"]),
            )
            run_reloading(watched, settings)
            return
        end_with_reloader()
        if is_supervisor(settings) and not options["check_config"]:
            supervise(settings)  # its workers load the application, it does not
            return
        checks_only = options["check_config"]
        serves_again = UNIX and not (checks_only or is_worker(os.environ) or is_reloaded())
        reexec = Reexec() if serves_again else None
        if options["env_file"]:
            load_environment(options["env_file"])
        if options["drop_in"]:
            install(parallel=options["drop_in_parallel"])
        site = make_site(target, settings, options["app_dir"], factory=options["factory"])
        if checks_only:
            check_listening(settings)
            check_log_files(settings.access_log, settings.error_log)
            click.echo(GOOD)
            return
        if not options["drop_in"]:
            ON_START.append(say_what_drop_in_gains)
        serve(site, settings, reexec=reexec)
    except (ApplicationError, BindError, CertificateError, LogError) as error:
        raise click.ClickException(str(error)) from None


def paths_like(globs: Sequence[str]) -> list[str]:
    """Patterns of whole paths: of what a pattern names in any folder, and of all below it."""
    return [f"*/{glob.strip('/')}{below}" for glob in globs for below in ("", "/*")]


def is_script(word: str) -> bool:
    """Does a word of the command line name a script, not an option or module:app?"""
    return word.endswith(".py") and not word.startswith("-")


def serve_script(path: str, options: dict[str, Any]) -> None:
    """Run a program that starts its server itself, and so decides where and how.

    Raises:
        click.UsageError: without --drop-in, or with an option that the program decides.
        ApplicationError: there is no such program; it is too late for --drop-in.
    """
    ctx = click.get_current_context()
    if not options["drop_in"]:
        raise click.UsageError(
            f"{path} is a script: write {import_string(path)}, or add --drop-in to run it as it stands "
            "[script]"
        )
    for option in OPTIONS:
        given = ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if given and option.name not in OPTIONS_OF_SCRIPTS:
            raise click.UsageError(
                f"{option.flag} with a script: {path} starts the server itself, and decides that; "
                "what stands behind it are its own arguments [script]"
            )
    if options["env_file"]:
        load_environment(options["env_file"])
    install(parallel=options["drop_in_parallel"])
    run_script(path, ctx.meta[SCRIPT_ARGUMENTS])


def make_settings(options: dict[str, Any]) -> Settings:
    """The settings that the options ask for.

    Raises:
        click.UsageError: two options contradict each other, or a format is malformed.
    """
    settings = DEFAULTS
    for option in OPTIONS:
        if option.setting:
            settings = with_setting(settings, option.setting, options[option.name])
    for text in options["set"]:
        settings = with_setting(settings, *assignment(text))
    if options["no_access_log"]:
        settings = replace(settings, access_log=None)
    if settings.error_log == "-":  # as --access-log has it, and gunicorn
        settings = replace(settings, error_log=None)
    if settings.debug and options["log_level"] == DEFAULTS.log_level:
        settings = replace(settings, log_level="debug")
    for flag, look in CHECKS.items():
        try:
            look(settings)
        except ValueError as error:
            raise click.UsageError(f"{flag}: {error}") from None
    return settings


def check_root_path(settings: Settings) -> None:
    if re.search(r"[?#\s]|://", settings.root_path):
        raise ValueError(f"{settings.root_path!r} is no path: write /shop")


def check_watermarks(settings: Settings) -> None:
    limits = settings.transport
    if not limits.low_watermark_bytes <= limits.high_watermark_bytes:
        raise ValueError("transport.low_watermark_bytes is above transport.high_watermark_bytes")


def check_tls(settings: Settings) -> None:
    """Who asks for certificates of clients must not find them let in without."""
    tls = settings.tls
    if tls.certfile is None and (tls.cert_reqs != "none" or tls.ca_certs or tls.ciphers):
        raise ValueError("without a certificate no TLS is spoken, and no client shows one [certificate]")


# Options whose value is looked at as a whole.
CHECKS: Final[dict[str, Callable[[Settings], object]]] = {
    "--access-log-format": lambda settings: AccessLog(settings.access_log_format, REAL.wall),
    "--forwarded-allow-ips": lambda settings: ProxyRules(settings.forwarded_allow_ips),
    "--allowed-hosts": lambda settings: AllowedHosts(settings.allowed_hosts),
    "--root-path": check_root_path,
    "--set": check_watermarks,
    "--ssl-certfile": check_tls,
}


def refuse_public_debug(settings: Settings) -> None:
    """The debugger runs what its visitor types; only a PIN stands before it.

    Raises:
        click.UsageError: --debug on an address that others reach, and nobody has insisted.
    """
    if settings.debug and not settings.allow_public_debug:
        public = public_address(settings)
        if public is not None:
            raise click.UsageError(
                f"--debug on {public}, which other machines may reach: whoever guesses the debugger's PIN "
                "runs code here; listen on 127.0.0.1, or add --allow-public-debug [public-debug]"
            )


def make_site(target: str | None, settings: Settings, folder: str, *, factory: bool) -> Site:
    """What is to be served.

    Raises:
        ApplicationError: the application cannot be found or cannot run here.
    """
    if target is None:
        return welcome_site()
    # Stock Flask-SocketIO then takes its threading mode whatever else is installed; app.run() does nothing.
    os.environ.setdefault("FLASK_RUN_FROM_CLI", "true")
    application = load_application(target, os.path.abspath(folder), factory=factory)
    try:
        site = find_site(application)
    except BrokerError as error:
        raise ApplicationError(str(error)) from None
    if settings.debug:
        site.application = with_debugger(application)
    return site


def load_environment(path: str) -> None:
    """Put NAME=value lines into the environment; what is set already stays.

    Raises:
        ApplicationError: the file cannot be read, or a line is not NAME=value.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ApplicationError(f"--env-file {path}: {reason} [env-file]") from None
    for number, line in enumerate(lines, 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ApplicationError(f"--env-file {path}, line {number}: expected NAME=value [env-file]")
        if name.strip() in VARIABLES - os.environ.keys():
            raise ApplicationError(
                f"--env-file {path}, line {number}: {name.strip()} is read before this file, which is the "
                "application's: set it in the environment, or the option in a file for --config [env-file]"
            )
        os.environ.setdefault(name.strip(), value.strip().strip("\"'"))


TARGET: Final = re.compile(r"[\w./]*:[\w.()]+")  # module:app, and no JSON or URL


class Commands(click.Group):
    """The commands; who names an application without `serve` is told."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        targets = [word for word in args if TARGET.fullmatch(word) or is_script(word)]
        if self.get_command(ctx, args[0]) is None and targets:
            words = args if targets[0] == args[0] else args[1:]
            ctx.fail(f"No such command {args[0]!r}. Write: wsframe serve {' '.join(words)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings=HELP,
    commands=[
        serve_command,
        emit_command,
        connect_command,
        explain_command,
        schema_command,
        status_command,
        top_command,
        dump_command,
        reload_command,
        stop_command,
    ],
    invoke_without_command=True,
)
@click.version_option(metadata.version("wsframe"), prog_name="wsframe")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Real-time events for WSGI applications.

    A message that ends with a code in brackets: `wsframe explain CODE` says more.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
