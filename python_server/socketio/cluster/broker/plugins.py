"""The port through which packages bring brokers, and how a URL's scheme finds one.

Must not know: any broker, what is said through one. docs/how-to/backplane.md is for who writes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

# Of entry points, each named by the scheme of its URLs.
GROUP: Final = "wsframe.backplanes"


class BrokerError(ValueError):
    """The broker cannot be used at all: no such URL, no package."""


class BrokerPublisher(Protocol):
    """Port: a connection by which messages leave. One thread calls its methods, one after the other.

    Whatever a method raises means that the connection is lost: it is closed, and another one is made.
    """

    def connect(self) -> None:
        """Return once the broker has let us in; raise after some seconds."""

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[int | None]:
        """Publish payloads on channels, in order; return once the broker has them, or raise.

        Returns:
            For each message how many subscriptions of its channel it went to; None: the broker does not tell.
            A question goes to `channel + "#wsframe"`: with a number it ends as soon as all have answered,
            without one when its time is over. No other channel's number is needed.
        """

    def ping(self) -> None:
        """Return once the broker has answered; raise after some seconds."""

    def close(self) -> None:
        """Free what it holds, also when it never connected."""


class BrokerSubscriber(Protocol):
    """Port: a connection by which messages come. One thread calls its methods, one after the other.

    Whatever a method raises means that the connection is lost: it is closed, and another one is made.
    """

    def connect(self) -> None:
        """As a publisher's."""

    def subscribe(self, channels: Sequence[str]) -> None:
        """Return once all that is published on them from now on will come, also what follows at once."""

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """They need not come any more."""

    def receive(self, timeout_seconds: float) -> Sequence[tuple[str, bytes]]:
        """Wait for messages; channel and payload of each, in the order of each channel. [] after the time."""

    def ping(self) -> None:
        """As a publisher's; messages may come meanwhile."""

    def close(self) -> None:
        """As a publisher's."""


class BrokerClient(Protocol):
    """Port: what makes connections to one broker, each not connected yet. Any thread calls it."""

    def publisher(self) -> BrokerPublisher: ...
    def subscriber(self) -> BrokerSubscriber: ...


# Called with the URL, the `channel` that all servers share, and the server's `redis_options`. It raises
# ValueError for a URL that it cannot read, and ImportError for a package that is not installed.
OpenBroker = Callable[[str, str, Mapping[str, object]], BrokerClient]


def without_password(url: str) -> str:
    """The URL as it may stand in a log."""
    head, separator, tail = url.partition("://")
    scheme, rest = (head, tail) if separator else ("", url)
    place, _, query = rest.partition("?")
    if "@" in query:  # it, or what stands before it, is a password
        return f"{scheme}{separator}..."
    return f"{scheme}{separator}{place.rpartition('@')[2]}"


def fault_of(url: str, error: Exception) -> str:
    """What is wrong with a URL, as it may stand in a log."""
    _, _, rest = url.partition("://")
    if isinstance(error, ValueError) and "@" in rest and "@" not in re.split("[/?#]", rest)[0]:
        # Its reader has taken a part of the password for a port, and names it.
        return "write a / in its user or password as %2F, a ? as %3F and a # as %23"
    return str(error).replace(url, without_password(url))


def installed() -> dict[str, list[EntryPoint]]:
    """What packages bring, by scheme."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        if entry not in found.setdefault(entry.name.lower(), []):
            found[entry.name.lower()].append(entry)
    return found


def open_client(url: str, channel: str, options: Mapping[str, object]) -> BrokerClient | None:
    """Of the broker that a package brings for the URL; None where none does.

    Raises:
        BrokerError: it refuses the URL, lacks a package, or two packages bring one.
    """
    scheme = url.partition("://")[0].lower()
    entries = installed().get(scheme, []) if "://" in url else []
    if not entries:
        return None
    if len(entries) > 1:
        values = " and ".join(entry.value for entry in entries)
        raise BrokerError(f"message_queue {scheme}:// is brought by {values}: uninstall one [message-queue]")
    try:
        open_broker: OpenBroker = entries[0].load()
        return open_broker(url, channel, options)
    except ImportError as error:
        missing = f"pip install {error.name}" if error.name else str(error)
        raise BrokerError(
            f"message_queue {scheme}:// needs packages that are not installed: {missing} [missing-package]"
        ) from None
    except (TypeError, ValueError) as error:
        said = fault_of(url, error)
        raise BrokerError(f"message_queue {without_password(url)!r}: {said} [message-queue]") from None
