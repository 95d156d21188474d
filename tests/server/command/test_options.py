"""The table of options: each leads to a setting, has a default that it would take, and a name of its own.

It must not know what a setting does.
"""

from dataclasses import fields, is_dataclass
from typing import Any

import click
import pytest

from python_server.command.option import ENVIRONMENT_PREFIX, Option, octal
from python_server.command.options import (
    ANY_COUNT,
    COUNT,
    DEFAULTS,
    OPTIONS,
    SECONDS,
    assignment,
    default_of,
    read_setting,
    settable,
    with_setting,
)

SETTING_OPTIONS = [option for option in OPTIONS if option.setting]


def test_no_two_options_share_a_flag_a_name_or_a_setting() -> None:
    flags = [flag for option in OPTIONS for pair in option.flags for flag in pair.split("/")]
    assert len(flags) == len(set(flags))
    for words in ([option.name for option in OPTIONS], [option.setting for option in SETTING_OPTIONS]):
        assert len(words) == len(set(words))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_is_a_sentence_under_a_heading_with_a_variable(option: Option) -> None:
    assert option.flags[0].startswith("--")
    assert option.environment == ENVIRONMENT_PREFIX + option.name.upper()
    assert option.help.rstrip("]")[-1] not in " ,;"
    assert option.group


@pytest.mark.parametrize("option", SETTING_OPTIONS, ids=lambda option: option.name)
def test_a_default_is_a_value_that_the_option_would_take(option: Option) -> None:
    default = default_of(option)
    values = default if option.multiple else [default]
    for value in values:
        if isinstance(option.kind, click.ParamType) and value is not None:
            assert option.kind.convert(value, None, None) == value
    if option.kind is octal:
        assert octal(default) == read_setting(DEFAULTS, option.setting)


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        ("--reload", bool),  # by the default in its row
        ("--reuse-port", bool),  # by its setting's
        ("--threads", COUNT),
        ("--timeout-body", SECONDS),
        ("--host", str),
        ("--uds", str),
        ("--max-requests", ANY_COUNT),  # as the row says
        ("--uds-permissions", octal),
    ],
)
def test_what_an_option_takes(flag: str, kind: Any) -> None:
    (found,) = [option.kind for option in OPTIONS if option.flag == flag]
    assert found is kind


@pytest.mark.parametrize("option", SETTING_OPTIONS, ids=lambda option: option.name)
def test_an_option_changes_its_setting_alone(option: Option) -> None:
    mark: Any = object()
    changed = with_setting(DEFAULTS, option.setting, mark)
    assert read_setting(changed, option.setting) is mark
    assert differences(DEFAULTS, changed) == [option.setting]
    assert (
        differences(DEFAULTS, with_setting(changed, option.setting, read_setting(DEFAULTS, option.setting)))
        == []
    )


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The dotted names of the settings in which they differ."""
    found: list[str] = []
    for field in fields(one):
        values = getattr(one, field.name), getattr(other, field.name)
        if is_dataclass(values[0]) and is_dataclass(values[1]):
            found += differences(*values, f"{path}{field.name}.")
        elif values[0] != values[1]:
            found.append(path + field.name)
    return found


def test_every_setting_that_a_text_can_say_has_a_way_from_the_command_line() -> None:
    kinds = dict(settable(DEFAULTS))
    assert not kinds.keys() & {option.setting for option in SETTING_OPTIONS}
    for name in kinds:
        default = read_setting(DEFAULTS, name)
        text = (
            "shop.test" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        )
        assert assignment(f" {name} = {text} ") == (name, text if default is None else default)
        assert differences(DEFAULTS, with_setting(DEFAULTS, name, object())) == [name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("idle_grace_seconds", "write NAME=VALUE"),
        ("idle_grace_second=1", "did you mean idle_grace_seconds?"),
        ("port=1", "write --port"),
        ("=1", "docs/limits.md has them"),
        ("tls.context=x", "docs/limits.md has them"),
        ("wsgi_queue_count=0", "wsgi_queue_count: 0 is not in the range"),
    ],
)
def test_what_sets_no_setting(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        assignment(text)
