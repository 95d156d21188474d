"""Where other machines reach this one: what is refused at the start, and what is listened on.

It must not know what is said there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from own_ports import port_of_its_own
from python_server.net.sockets import BindError, Listening, TCPAddress
from python_server.serve.cluster_address import check_cluster, cluster_contexts, cluster_listening
from python_server.settings import ClusterSettings, Settings


def settings(listen: str | None, secret: str = "s", **files: str) -> Settings:
    return Settings(cluster_secret=secret, cluster=ClusterSettings(listen=listen, **files))


def test_nobody_listens_unless_somebody_asks() -> None:
    assert check_cluster(settings(None, "")) is None
    with cluster_listening(settings(None), {}) as listening:
        assert listening is None


@pytest.mark.parametrize(
    "listen", ["here", "0.0.0.0:7000", "[::]:7000", ":7000", "unix:/run/s", "127.0.0.1:0"]
)
def test_an_address_that_others_cannot_use_is_refused(listen: str) -> None:
    with pytest.raises(BindError, match=r"\[cluster-listen\]|address"):
        check_cluster(settings(listen))


def test_a_secret_is_needed() -> None:
    with pytest.raises(BindError, match="--cluster-secret"):
        check_cluster(settings("127.0.0.1:7000", ""))
    assert check_cluster(settings("127.0.0.1:7000")) == TCPAddress("127.0.0.1", 7000)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    found = {"certfile": str(tmp_path / "cert.pem"), "ca_certs": str(tmp_path / "ca.pem")}
    issued.private_key_and_cert_chain_pem.write_to_path(found["certfile"])
    authority.cert_pem.write_to_path(found["ca_certs"])
    return found


def test_tls_has_a_context_for_each_end(files: dict[str, str]) -> None:
    assert cluster_contexts(ClusterSettings()) == (None, None)
    called, calling = cluster_contexts(ClusterSettings(**files))
    assert called is not None
    assert calling is not None
    assert calling.check_hostname
    assert not called.check_hostname


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: files.pop("certfile"), "need each other"),
        (lambda files: files.pop("ca_certs"), "need each other"),
        (lambda files: files.update(certfile=files["ca_certs"]), "--cluster-listen: "),
        (lambda files: files.update(ca_certs="/nowhere"), "cannot use the CA file /nowhere"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    files: dict[str, str], change: Callable[[dict[str, str]], Any], reason: str
) -> None:
    change(files)
    with pytest.raises(BindError, match=reason):
        check_cluster(settings("127.0.0.1:7000", **files))


def test_it_is_listened_on_kept_and_taken_over() -> None:
    kept: dict[str, Listening] = {}
    first, second = (f"127.0.0.1:{port_of_its_own()}" for _ in range(2))
    with cluster_listening(settings(first), kept, kept.__setitem__) as listening:
        assert listening is not None
        assert "{}:{}".format(*listening.getsockname()) == first
        descriptor = listening.fileno()
    with cluster_listening(settings(first), kept, kept.__setitem__) as again:
        assert again is not None
    assert list(kept) == [f"cluster {first}"]
    assert descriptor > 0
    with cluster_listening(settings(second), {}) as other:
        assert other is not None
