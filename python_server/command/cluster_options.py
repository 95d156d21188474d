"""The options of machines that share a broker: rows of the table in `options`.

Must not know: what a setting does.
"""

from __future__ import annotations

from typing import Final

from python_server.command.option import Checked, Option
from python_server.engineio.session_ids import read_tag

CLUSTER_OPTIONS: Final = (
    Option(
        "--machine-tag",
        "Session ids begin with this: a balancer finds their machine (docs/scaling.md).",
        "machine_tag",
        Checked(read_tag, None),
        metavar="TAG",
    ),
    Option(
        "--cluster-secret",
        "Signs what machines keep at their broker, and say to each other; the same on all of them.",
        "cluster_secret",
    ),
    Option(
        "--cluster-listen",
        "host:port where the other machines reach this one, so that a balancer may use any.",
        "cluster.listen",
        metavar="ADDRESS",
    ),
    Option(
        "--cluster-certfile",
        "TLS between machines: certificate for that address.",
        "cluster.certfile",
        metavar="FILE",
    ),
    Option(
        "--cluster-keyfile", "Its private key, if it is in another file.", "cluster.keyfile", metavar="FILE"
    ),
    Option(
        "--cluster-ca-certs",
        "CA file for the certificates of the other machines.",
        "cluster.ca_certs",
        metavar="FILE",
    ),
)
