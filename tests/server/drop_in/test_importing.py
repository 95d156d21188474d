"""A finder of made-up packages: whole stand-ins, names over a real module, other names for the library's.

It must not know the table of drop-in: its own are enough.
"""

import importlib
import importlib.resources
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from python_server.drop_in.importing import Package, Replacer, caller, is_installed, place_of

PACKAGES = {
    "madeup": Package("stand-ins", "is not there: leave it out", green=True),
    "overlaid": Package("half of it", "is nowhere"),
    "absent": Package("what there is", "is not installed"),
}
MODULES = {
    "madeup": "sqrt floor=ceil",
    "madeup.inner": "pi",
    "madeup.plain": "json:",
    "madeup.copy": "json: dumps=sqrt",
    "overlaid": "real: sqrt",
    "overlaid.part": "real: pi",
    "absent": "real: sqrt",
    "absent.part": "real: pi",
}


@pytest.fixture
def green() -> list[str]:
    return []


@pytest.fixture
def replacer(tmp_path: Path, green: list[str]) -> Iterator[Replacer]:
    """In place for one test; `overlaid` is a package that is installed."""
    package = tmp_path / "overlaid"
    package.mkdir()
    (package / "__init__.py").write_text("from .part import pi, kept\nsqrt = 'theirs'\nown = 'theirs'\n")
    (package / "part.py").write_text("pi = 'theirs'\nkept = 'theirs'\n")
    (package / "other.py").write_text("from overlaid import sqrt\n")
    (package / "data.txt").write_text("a resource")
    replacer = Replacer(PACKAGES, MODULES, ("math",), lambda: green.append("green"), {})
    sys.meta_path.insert(0, replacer)
    sys.path.insert(0, str(tmp_path))
    yield replacer
    sys.path.remove(str(tmp_path))
    sys.meta_path.remove(replacer)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


def run(text: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(text, "program.py", "exec"), names)
    return names


def test_a_module_of_the_tables_names(replacer: Replacer) -> None:
    names = run("import madeup\nfrom madeup import sqrt, floor\nimport madeup.inner as inner\n")
    assert names["sqrt"](9) == 3  # type: ignore[operator]
    assert names["floor"](1.5) == 2  # type: ignore[operator]
    assert names["inner"].pi > 3  # type: ignore[attr-defined]
    assert not hasattr(names["madeup"], "pi")
    assert replacer.seen == {"madeup": "program.py:1"}


def test_an_inner_module_comes_when_it_is_asked_for(replacer: Replacer) -> None:
    names = run("import madeup\npi = madeup.inner.pi\nfrom madeup import inner\n")
    assert names["pi"] == names["inner"].pi  # type: ignore[attr-defined]


def test_another_name_for_a_module_of_the_library(replacer: Replacer) -> None:
    import json

    names = run("import madeup.plain\nfrom madeup import plain, copy\n")
    assert names["plain"] is json
    assert json.__spec__.name == "json"
    assert names["copy"] is not json
    assert names["copy"].dumps(4) == 2  # type: ignore[attr-defined]
    assert names["copy"].loads is json.loads  # type: ignore[attr-defined]


def test_names_over_a_real_module(replacer: Replacer) -> None:
    names = run("import overlaid, overlaid.other\nfrom overlaid.part import pi, kept\n")
    overlaid = names["overlaid"]
    assert overlaid.own == "theirs"  # type: ignore[attr-defined]
    assert overlaid.sqrt(9) == 3  # type: ignore[attr-defined]
    assert overlaid.pi == names["pi"] != "theirs"  # type: ignore[attr-defined]
    assert overlaid.other.sqrt is overlaid.sqrt  # type: ignore[attr-defined]
    assert names["kept"] == "theirs"
    assert importlib.resources.files("overlaid").joinpath("data.txt").read_text() == "a resource"


def test_where_the_real_package_is_not_installed_there_are_ours_alone(replacer: Replacer) -> None:
    names = run("import absent\nfrom absent.part import pi\nfrom absent import sqrt\n")
    assert names["pi"]
    with pytest.raises(AttributeError, match=r"absent\.own \(program\.py:2\) is not installed"):
        run("import absent\nabsent.own\n")


@pytest.mark.parametrize(
    "text",
    ["import madeup.nobody\n", "from madeup import nobody\n", "from madeup.inner import nobody\n"],
)
def test_what_nobody_has_names_the_place(replacer: Replacer, text: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"nobody \(program\.py:1\) is not there: leave it out"):
        run(text)


def test_libraries_may_ask_in_vain(replacer: Replacer) -> None:
    """A probe is answered as the import system answers it."""
    names = run(
        "import madeup\nasked = getattr(madeup, 'nobody', 'default')\n"
        "try:\n    from madeup import nobody\nexcept ImportError:\n    caught = True\n"
    )
    assert (names["asked"], names["caught"]) == ("default", True)


def test_a_green_package_is_told_of_where_the_program_imports_it(
    replacer: Replacer, green: list[str]
) -> None:
    run("import overlaid\n")
    assert green == []
    library = compile("import madeup\n", "/x/site-packages/library.py", "exec")
    exec(library, {})
    assert green == []
    run("import madeup.inner\n")
    assert green == ["green"]


def test_other_packages_are_nobodys_business(replacer: Replacer) -> None:
    assert replacer.find_spec("json", None) is None
    assert replacer.find_spec("json.decoder", []) is None


def test_places() -> None:
    assert place_of(caller()).endswith("test_importing.py:" + str(caller().f_lineno))
    assert is_installed(pytest.__file__)
    assert is_installed(importlib.__file__)
    assert not is_installed(__file__)
