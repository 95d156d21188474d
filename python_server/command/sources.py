"""Where the values of options come from: a TOML file, the environment; and showing which came from where.

Must not know: what an option does, or how anything is served.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from python_server.command.option import ENVIRONMENT_PREFIX, Option, as_written, octal
from python_server.command.options import OPTIONS, TARGET
from python_server.serve.reloaded import RELOADER_VARIABLE
from python_server.workers.spawn import INHERITED_VARIABLE, WORKER_VARIABLE

CONFIG_VARIABLE: Final = "WSFRAME_CONFIG"
# What this program leaves for the processes that it starts.
OWN_VARIABLES: Final = {CONFIG_VARIABLE, RELOADER_VARIABLE, INHERITED_VARIABLE, WORKER_VARIABLE}
# How much of a name is an option's, for it to be that one misspelt: PROT and PORT have three quarters.
NEAR: Final = 0.7
# Where the command's context keeps the path of --config.
CONFIG_PATH: Final = "python_server.config_path"
# They say what the command does, not how the server is.
NOT_SHOWN: Final = frozenset({"print_config", "check_config"})
SECRETS: Final = frozenset({"ssl_keyfile_password", "cluster_secret"})


def read_config(ctx: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Callback of --config: its keys become defaults, below the environment and the command line.

    Raises:
        click.BadParameter: the file cannot be read, is not TOML, or a key or a value is not an option's.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from None
    known = {option.name: option for option in (TARGET, *OPTIONS)}
    defaults: dict[str, object] = {}
    for key, value in values.items():
        option = known.get(key.replace("-", "_"))
        if option is None:
            near = get_close_matches(key.replace("-", "_"), known, 1)
            meant = f", did you mean {near[0].replace('_', '-')}?" if near else ""
            raise click.BadParameter(f"{path}: there is no option {key!r}{meant} [unknown-option]")
        try:
            defaults[option.name] = as_written(option, value)
        except ValueError as error:
            raise click.BadParameter(f"{path}, {key}: {error}") from None
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    ctx.meta[CONFIG_PATH] = path
    return path


def foreign_variables(environment: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(variable with our prefix that is no option's, the option's that it may stand for or "")."""
    ours = {option.environment.removeprefix(ENVIRONMENT_PREFIX) for option in OPTIONS}
    for variable in sorted(environment):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name != variable and name not in ours and variable not in OWN_VARIABLES:
            near = get_close_matches(name, ours, 1, NEAR)
            yield variable, ENVIRONMENT_PREFIX + near[0] if near else ""


def refuse_misspelt(environment: Iterable[str]) -> None:
    """A variable with our prefix and nearly an option's name would be passed over without a word.

    Raises:
        click.UsageError: there is one.
    """
    for variable, meant in foreign_variables(environment):
        if meant:
            raise click.UsageError(
                f"{variable} in the environment is no option, did you mean {meant}? [unknown-option]"
            )


def shown_config(ctx: click.Context, environment: Mapping[str, str]) -> Iterator[str]:
    """All options as a file for --config has them, each with its source behind it."""
    for option in (TARGET, *OPTIONS):
        value = ctx.params[option.name]
        if option.name in NOT_SHOWN:
            continue
        if option.name in SECRETS and value:
            value = None
        line = f"{option.name.replace('_', '-')} = {_toml(option, value)}"
        yield f"{'# ' if value is None else ''}{line}  # {_source(ctx, option, environment)}"
    for variable, _ in foreign_variables(environment):
        yield f"# {variable} in the environment is no option"


def _toml(option: Option, value: Any) -> str:
    if value is None:
        return "..." if option.name in SECRETS else ""
    if option.kind is octal:
        return f"{value:o}"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else repr(value)


def _source(ctx: click.Context, option: Option, environment: Mapping[str, str]) -> str:
    source = ctx.get_parameter_source(option.name)
    if source is ParameterSource.ENVIRONMENT:
        variables = (option.environment, *option.other_environment)
        return next(f"environment, {name}" for name in variables if environment.get(name))
    if source is ParameterSource.DEFAULT_MAP:
        return str(ctx.meta[CONFIG_PATH])
    return "command line" if source is ParameterSource.COMMANDLINE else "default"
