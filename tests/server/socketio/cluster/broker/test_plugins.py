"""How the scheme of a URL finds what a package brings, and what is said where it finds nothing that works.

It must not know any broker: the packages are made here.
"""

from pathlib import Path
from typing import Any

import pytest

from python_server.socketio.cluster.broker.plugins import (
    BrokerError,
    installed,
    open_client,
    without_password,
)
from python_server.socketio.cluster.broker.url import broker_options, client_of, read_broker

MODULE = """
class Client:
    def __init__(self, *given):
        self.given = given

def open_broker(url, channel, options):
    return Client(url, channel, options)

def refuse(url, channel, options):
    raise ValueError("it names no host: write for example tin://host")

def quote(url, channel, options):
    raise ValueError(f"bad URL {url}")

def lack(url, channel, options):
    import no_such_library

def lack_words(url, channel, options):
    raise ImportError("pip install 'tin[cans]'")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """package(name, scheme=function, ...): installs one."""

    def install(name: str, **functions: str) -> None:
        (tmp_path / f"{name}.py").write_text(MODULE)
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{scheme} = {name}:{function}\n" for scheme, function in functions.items()]
        (information / "entry_points.txt").write_text("[wsframe.backplanes]\n" + "".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_a_scheme_is_found_and_given_what_the_server_was_given(package: Any) -> None:
    package("tins_of_one", tin="open_broker")
    client: Any = open_client("TIN://u:p@host?x=1", "shop", {"a": 1})
    assert client.given == ("TIN://u:p@host?x=1", "shop", {"a": 1})
    given = {"message_queue": "tin://host", "channel": "shop", "redis_options": {"a": 1}}
    options = read_broker(given, "default")
    assert options == broker_options("tin://host", "shop", redis_options={"a": 1})
    assert "tin" in installed()


def test_whose_scheme_nobody_brings_is_told_what_there_is(package: Any) -> None:
    package("tins_of_two", tin="open_broker")
    assert open_client("tinny://host", "shop", {}) is None
    assert open_client("tin:host", "shop", {}) is None
    with pytest.raises(BrokerError) as raised:
        read_broker({"message_queue": "tinny://u:secret@host"}, "default")
    said = str(raised.value)
    assert "secret" not in said
    for words in (
        "'tinny://host'",
        "redis://",
        "amqp://",
        "tin://",
        "entry points of the group wsframe.backplanes",
    ):
        assert words in said
    assert said.endswith("[message-queue]")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            "refuse",
            "message_queue 'tin://host': it names no host: write for example tin://host [message-queue]",
        ),
        (
            "lack",
            "message_queue tin:// needs packages that are not installed: "
            "pip install no_such_library [missing-package]",
        ),
        (
            "lack_words",
            "message_queue tin:// needs packages that are not installed: "
            "pip install 'tin[cans]' [missing-package]",
        ),
    ],
)
def test_what_a_package_raises_is_one_line(package: Any, function: str, said: str) -> None:
    package(f"tins_that_{function}", tin=function)
    with pytest.raises(BrokerError) as raised:
        open_client("tin://u:secret@host", "shop", {})
    assert str(raised.value) == said


def test_two_packages_of_one_scheme_are_refused(package: Any) -> None:
    package("tins_of_three", tin="open_broker")
    package("tins_of_four", tin="open_broker")
    with pytest.raises(BrokerError, match=r"brought by tins_of_.*:open_broker and tins_of_.*: uninstall one"):
        open_client("tin://host", "shop", {})


def test_redis_cannot_be_replaced_and_a_stream_is_its_own(package: Any) -> None:
    package("tins_of_five", redis="refuse", tin="open_broker")
    assert client_of(broker_options("redis://host", "shop")) is None
    with pytest.raises(BrokerError, match="served by no broker here"):
        read_broker({"message_queue": "tin+streams://host"}, "default")


def test_no_password_in_a_log() -> None:
    assert without_password("amqp://user:p@ss@host:1//?password=x") == "amqp://host:1//"
    assert without_password("unix:///run/redis.sock") == "unix:///run/redis.sock"
    assert without_password("amqp://host?password=p@ss") == "amqp://..."
    assert without_password("amqp://user:p?ss@host") == "amqp://..."
    assert without_password("redis:user:secret@host?password=x") == "host"
    assert without_password("localhost") == "localhost"


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster", "amqp"])
@pytest.mark.parametrize("mark", "/?#")
def test_no_part_of_a_password_that_a_url_cannot_hold(scheme: str, mark: str) -> None:
    """Readers take what stands before the mark for a port, and say so."""
    with pytest.raises(BrokerError, match="write a / in its user or password as %2F") as raised:
        read_broker({"message_queue": f"{scheme}://user:sec{mark}ret@host:1"}, "shop")
    assert "sec" not in str(raised.value)
    assert "ret" not in str(raised.value)


def test_a_package_that_names_the_whole_url(package: Any) -> None:
    package("tins_of_six", tin="quote")
    with pytest.raises(BrokerError, match="bad URL tin://host ") as raised:
        open_client("tin://u:secret@host", "shop", {})
    assert "secret" not in str(raised.value)
