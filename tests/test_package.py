"""What would be published: wheel and sdist, metadata, versions that agree, the workflows that build them.

It must not know an index: nothing is uploaded or asked for.
"""

import importlib.util
import os
import re
import runpy
import shutil
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

import constraints
import package_contents
import wsframe
from built_package import built, copied_tree, needs_build_tools
from package_contents import PROJECT, ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w/-]+@(v\d+|release/v\d+|[0-9a-f]{40})")
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
in_repository = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository here")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Built where what work leaves behind lies about too."""
    place = copied_tree(tmp_path_factory.mktemp("tree"))
    for stray in (
        "tests/common/__pycache__/a.pyc",
        "src/wsframe/_codec.c",
        "src/wsframe/_codec.html",
        "notes.txt",
    ):
        (place / stray).parent.mkdir(exist_ok=True)
        (place / stray).write_text("")
    (place / "tests/e2e/node_modules/ws").mkdir(parents=True)
    (place / "tests/e2e/node_modules/ws/index.js").write_text("")
    wheel, sdist, _ = built(place)
    return wheel, sdist


@in_repository
@needs_build_tools
def test_wheel_and_sdist_are_what_git_holds(packages: tuple[Path, Path]) -> None:
    wheel, sdist = packages
    files = package_contents.tracked()
    assert package_contents.wheel_faults(wheel, files) == []
    assert package_contents.sdist_faults(sdist, files) == []
    assert package_contents.has_client(wheel)


@in_repository
@needs_build_tools
def test_the_sdist_alone_has_the_maps(packages: tuple[Path, Path]) -> None:
    wheel, sdist = packages
    name = f"{package_contents.CLIENT}socket.io.js.map.gz"
    with zipfile.ZipFile(wheel) as packed, tarfile.open(sdist) as source:
        assert name not in packed.namelist()
        assert any(member.endswith(name) for member in source.getnames())


@in_repository
@needs_build_tools
def test_each_fault_of_a_package_is_named(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """A module that pyproject.toml does not list, a stray, debug information, a wheel that is too large."""
    wheel, sdist = (Path(shutil.copy(package, tmp_path)) for package in packages)
    with zipfile.ZipFile(wheel, "a") as packed:
        packed.writestr("tests/conftest.py", "")
        packed.writestr(
            "wsframe/_codec.cp311.so", b".debug_info" + os.urandom(package_contents.WHEEL_MAX_BYTES)
        )
    files = package_contents.tracked()
    size = wheel.stat().st_size
    assert package_contents.wheel_faults(wheel, files | {"python_server/new/module.py"}) == [
        "is missing: python_server/new/module.py",
        "does not belong there: tests/conftest.py",
        "has debug information: wsframe/_codec.cp311.so",
        f"has {size:,} bytes, more than {package_contents.WHEEL_MAX_BYTES:,}",
    ]
    assert package_contents.sdist_faults(sdist, files - {"README.md"} | {"docs/new.md"}) == [
        "is missing: docs/new.md",
        "does not belong there: README.md",
    ]


def test_the_installed_metadata_is_fit_for_an_index() -> None:
    text = metadata.distribution("wsframe").read_text("METADATA")
    assert text is not None
    assert package_contents.metadata_faults(text) == []
    url = f"{PROJECT['urls']['Source']}/blob/main/docs/migration.md"
    assert f"]({url})" in text
    ours = [f"METADATA lacks {name}" for name in ("Author", "License-Expression", "Summary")]
    bare = package_contents.metadata_faults(
        'Name: wsframe\n\n[a](docs/a.md) <img src="docs/b.svg"> [c](#c)\n'
    )
    assert bare[:3] == ours
    assert bare[-2:] == [f"README leads nowhere on an index: docs/{name}" for name in ("a.md", "b.svg")]


@pytest.mark.skipif(
    sys.platform != "linux" or wsframe.IMPLEMENTATION != "cython", reason="no compiled core of Linux here"
)
def test_the_installed_core_names_its_functions_but_carries_no_debug_information() -> None:
    core = Path(sys.modules["wsframe._codec"].__file__ or "").read_bytes()
    assert b".debug_info" not in core
    assert b".symtab" in core


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md#b)", "[a](https://host/us/blob/v1.2.0/docs/a.md#b)"),
        ("![a](docs/a.svg)", "![a](https://host/us/raw/v1.2.0/docs/a.svg)"),
        ('<img src="docs/a.gif">', '<img src="https://host/us/raw/v1.2.0/docs/a.gif">'),
        ('<a href="docs/a.md">', '<a href="https://host/us/blob/v1.2.0/docs/a.md">'),
        ("[a](https://b/c) [d](#e) [f](mailto:g)", "[a](https://b/c) [d](#e) [f](mailto:g)"),
        ('`<script src="/socket.io/socket.io.js">`', '`<script src="/socket.io/socket.io.js">`'),
    ],
)
def test_readme_on_an_index_leads_to_the_releases_tag(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with_links = runpy.run_path("readme_on_index.py")["with_links"]
    assert with_links(text, "https://host/us", "1.2.0") == expected
    assert with_links(text, "https://host/us", "1.2.0.dev0") == expected.replace("v1.2.0", "main")


def test_versions_agree() -> None:
    """pyproject.toml, the installed package, the changelog, where a release alone has a date."""
    version = PROJECT["version"]
    assert metadata.version("wsframe") == version
    headings = re.findall(r"^## (\d.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    number, _, rest = headings[0].partition(" ")
    assert number == version.partition(".dev")[0]
    assert re.fullmatch(r"\(unreleased\)" if ".dev" in version else r"\(\d{4}-\d\d-\d\d\)", rest)


def test_ci_installs_one_release_of_each_package() -> None:
    """And notices a requirement that `make constraints` has not seen."""
    pins = constraints.pinned(constraints.FILE.read_text("utf-8").splitlines())
    assert constraints.faults(pins, constraints.wanted()) == []
    assert constraints.faults({"flask": "2.9", "pytest": "8.0"}, ["Flask>=3", "pytest>=8", "h11>=0.16"]) == [
        "Flask==2.9 is not >=3: make constraints",
        "h11 has no pin: make constraints",
    ]
    assert constraints.faults({}, ["atheris; python_version < '3'"]) == []
    with pytest.raises(ValueError, match="unpack"):
        constraints.pinned(["flask>=3"])


def test_pythons_agree() -> None:
    """Those that are promised are those that are built and tested."""
    classifiers = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if ":: 3." in name]
    assert classifiers == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    built_ones = re.search(r'^build = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert built_ones is not None
    assert built_ones[1].split() == [f"cp{python.replace('.', '')}-*" for python in PYTHONS]
    assert (
        loaded(GITHUB / "workflows" / "tests.yml")["jobs"]["linux"]["strategy"]["matrix"]["python"] == PYTHONS
    )


def release_check() -> Any:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "tests" / "release_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_check_is_made_or_left_out_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that lacks something fails nothing; one fault among many decides."""
    module = release_check()
    for name in ("wsframe-1-cp39-cp39-any.whl", "wsframe-1.tar.gz"):
        (tmp_path / name).touch()
    release = module.Release(tmp_path, tmp_path)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    checks = [
        ("no such Python", lambda: release.install("9.9", release.sdist)),
        ("another Python's wheel", lambda: release.install(f"3.{sys.version_info[1]}", release.wheel)),
        ("no pyright", release.typed),
        ("good", lambda: "all is well"),
    ]
    monkeypatch.setattr(module, "checks", lambda release: iter(checks))
    assert module.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Left", "Left", "Left", "ok"]
    checks.insert(0, ("bad", lambda: module.run(sys.executable, "-c", "raise SystemExit('why')")))
    assert not module.main(tmp_path)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("FAULT     bad: ")
    assert first.endswith(": why")
    assert others == lines


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_take_no_more_than_they_need(path: Path) -> None:
    """Read-only unless a job says more, with a bound of time; each action by major version or commit."""
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert {"runs-on", "timeout-minutes"} <= set(job) or "uses" in job, name
        for step in job.get("steps", ()):
            assert ("uses" in step) != ("run" in step), step
            assert "uses" not in step or PINNED.fullmatch(step["uses"]), step["uses"]
            # What others write (titles, branches) never becomes a part of a script.
            assert "${{ github.event" not in step.get("run", "")
            assert "${{ github.head_ref" not in step.get("run", "")


def test_addresses_agree() -> None:
    source = PROJECT["urls"]["Source"]
    assert all(url.startswith(source) for url in PROJECT["urls"].values())
    (private,) = loaded(GITHUB / "ISSUE_TEMPLATE" / "config.yml")["contact_links"]
    assert private["url"] == f"{source}/security/advisories/new"


def test_workflows_run_when_they_should() -> None:
    # YAML 1.1 reads the key `on` as true.
    tests, release = (loaded(GITHUB / "workflows" / name)[True] for name in ("tests.yml", "release.yml"))
    assert {"push", "pull_request"} <= set(tests)
    assert release["push"] == {"tags": ["v*"]}


def test_only_the_publishing_job_may_prove_who_it_is() -> None:
    jobs = loaded(GITHUB / "workflows" / "release.yml")["jobs"]
    entitled = {name for name, job in jobs.items() if "id-token" in job.get("permissions", {})}
    assert entitled == {"attest", "publish"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]


@pytest.mark.parametrize(
    "name",
    [
        ".github/dependabot.yml",
        ".github/ISSUE_TEMPLATE/config.yml",
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/ISSUE_TEMPLATE/wish.yml",
        ".pre-commit-config.yaml",
    ],
)
def test_other_configuration_can_be_read(name: str) -> None:
    assert isinstance(loaded(ROOT / name), dict)


def test_commands_of_workflows_and_hooks_are_ours() -> None:
    """Each `make` target and file that they name exists."""
    texts = [path.read_text("utf-8") for path in [*WORKFLOWS, ROOT / ".pre-commit-config.yaml"]]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {target for text in texts for target in re.findall(r"\bmake ([a-z][\w-]*)", text)}
    assert named
    assert named <= targets
    files = {file for text in texts for file in re.findall(r"\b(?:tests|docs|bench)/[\w./-]+", text)}
    assert files
    assert not {file for file in files if not (ROOT / file).exists()}
