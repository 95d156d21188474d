"""Writes docs/options.md from the command line's own table; `--check` says whether it is up to date.

It must not know any option.
"""

import sys
from pathlib import Path

import click

from python_server.command.option import Option
from python_server.command.options import OPTIONS, default_of

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options of `wsframe serve`

`python docs/make_options.py` writes this page from the code. You can give an option on the command line, in
the environment, or in a TOML file (`--config FILE`, one key per option: `port = 9000`). The command line has
priority over the environment, and the environment over the file. `python -m python_server` is the same
command.
"""


def row(option: Option) -> str:
    default = default_of(option)
    shown = {None: "", False: "off", True: "on", (): ""}.get(default, f"`{default}`") if default != "" else ""
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    flags = ", ".join(f"`{flag}`" for flag in option.flags)
    choices = f" One of: {', '.join(option.kind.choices)}." if isinstance(option.kind, click.Choice) else ""
    variables = ", ".join(f"`{name}`" for name in (option.environment, *option.other_environment))
    return f"| {flags} | {variables} | {shown} | {option.help}{choices} |"


def page() -> str:
    lines = [HEAD]
    for group in dict.fromkeys(option.group for option in OPTIONS):
        lines += [
            f"## {group}",
            "",
            "| option | environment | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [row(option) for option in OPTIONS if option.group == group]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            PAGE.read_text("utf-8") != page()
            and "docs/options.md is out of date: python docs/make_options.py"
        )
    PAGE.write_text(page(), "utf-8")
