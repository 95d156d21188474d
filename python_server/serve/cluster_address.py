"""Where other machines of the cluster reach this one: the address, and TLS on both ends.

Must not know: what is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from python_server.net.certificates import CertificateError, make_calling_context, make_context
from python_server.net.sockets import (
    ANY_IPV4,
    ANY_IPV6,
    BindError,
    Listening,
    Socket,
    TCPAddress,
    listen,
    parse_address,
)
from python_server.settings import ClusterSettings, Settings, TLSSettings

if TYPE_CHECKING:
    from python_server.net.certificates import TLSContext

# Its name among a worker's further listening sockets.
CLUSTER: Final = "cluster"
BACKLOG_COUNT: Final = 512


def check_cluster(settings: Settings) -> TCPAddress | None:
    """Where other machines reach this one; None where they do not.

    Raises:
        BindError: the address is malformed, or what it needs is missing.
    """
    cluster = settings.cluster
    if cluster.listen is None:
        return None
    address = parse_address(cluster.listen, 0)
    if not isinstance(address, TCPAddress) or address.host in (*ANY_IPV4, ANY_IPV6) or not address.port:
        raise BindError(
            f"--cluster-listen {cluster.listen!r}: write the address and port where the other machines reach "
            "this one, such as 10.0.0.1:7000 [cluster-listen]"
        )
    if not settings.cluster_secret:
        raise BindError("--cluster-listen needs --cluster-secret, the same on all machines [cluster-listen]")
    cluster_contexts(cluster)
    return address


def cluster_contexts(cluster: ClusterSettings) -> tuple[TLSContext | None, TLSContext | None]:
    """TLS for who is called, and for who calls; None where it is not spoken. Raises BindError."""
    if cluster.certfile is None and cluster.ca_certs is None:
        return None, None
    if cluster.certfile is None or cluster.ca_certs is None:
        raise BindError("--cluster-certfile and --cluster-ca-certs need each other [cluster-listen]")
    try:
        called = make_context(TLSSettings(certfile=cluster.certfile, keyfile=cluster.keyfile), [])
        return called, make_calling_context(cluster.ca_certs)
    except CertificateError as error:
        raise BindError(f"--cluster-listen: {error}") from None


def listen_for_machines(settings: Settings, *, reuse_port: bool = False) -> Listening:
    """Without a socket where the settings do not ask for it.

    Args:
        reuse_port: other workers of this machine listen there too, each for itself.

    Raises:
        BindError: the address cannot be listened on, or what it needs is missing.
    """
    address = check_cluster(settings)
    return Listening() if address is None else listen([address], BACKLOG_COUNT, reuse_port=reuse_port)


@contextmanager
def cluster_listening(
    settings: Settings,
    kept: Mapping[str, Listening],
    keep: Callable[[str, Listening], None] | None = None,
) -> Iterator[Socket | None]:
    """Listening for other machines, if the settings ask for it.

    Args:
        kept: what this process has listened on before, by name. keep: told of it, for the next time.

    Raises:
        BindError: see `listen_for_machines`.
    """
    name = f"{CLUSTER} {settings.cluster.listen}"
    for other in kept.keys() - {name}:
        if other.startswith(CLUSTER):
            kept[other].close()
    with kept[name] if name in kept else listen_for_machines(settings) as listening:
        if keep is not None and listening.sockets:
            keep(name, listening)
        yield next(iter(listening.sockets), None)
