"""An Envoy of the test's own, whose HTTP connection manager has the fields that a page documents.

It must not know what stands behind it.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outside_tools import outside_tool
from running_program import RunningProgram

FILTERS = "envoy.filters.network.http_connection_manager", "envoy.filters.http.router"
TYPES = "type.googleapis.com/envoy.extensions.filters."


class Envoy(RunningProgram):
    """Listens at 127.0.0.1:`port`.

    Args:
        folder: where its file is; empty.
        manager: fields of its HTTP connection manager.
        clusters: the addresses, "host:port", of each cluster.
    """

    def __init__(
        self, folder: Path, manager: Mapping[str, Any], clusters: Mapping[str, Sequence[str]]
    ) -> None:
        command = [outside_tool("envoy"), "-c", str(folder / "envoy.json"), "--use-dynamic-base-id"]
        # Bound as well and never listening: the port is ours until Envoy has it.
        with socket.socket() as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(("127.0.0.1", 0))
            self.port: int = bound.getsockname()[1]
            (folder / "envoy.json").write_text(json.dumps(configuration(self.port, manager, clusters)))
            super().__init__(command, folder)
            self.wait_for("starting main dispatch loop")


def configuration(
    port: int, manager: Mapping[str, Any], clusters: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    router = {"name": FILTERS[1], "typed_config": {"@type": f"{TYPES}http.router.v3.Router"}}
    typed = {
        "@type": f"{TYPES}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "http_filters": [router],
        **manager,
    }
    chain = {"filters": [{"name": FILTERS[0], "typed_config": typed}]}
    listener = {"address": place(f"127.0.0.1:{port}"), "filter_chains": [chain]}
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster(name, addresses) for name, addresses in clusters.items()],
        }
    }


def cluster(name: str, addresses: Sequence[str]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": place(address)}} for address in addresses]
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def place(address: str) -> dict[str, Any]:
    host, port = address.split(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
