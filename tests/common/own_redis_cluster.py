"""Three masters of a Redis Cluster that belong to a test, perhaps with a replica of the first.

It must not know what is said through them.
"""

import time

import redis

from own_ports import port_of_its_own
from own_redis import RedisServer

SLOTS_COUNT = 16384
SCAN_SECONDS = 0.05


class OwnRedisCluster:
    """`stop` and `start` end and begin all of them; each keeps what it knows of the others."""

    def __init__(self, program: str, replicas_count: int = 0) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        buses = [port_of_its_own() for _ in range(3 + replicas_count)]
        self.nodes = [RedisServer(program, *options, "--cluster-port", str(bus)) for bus in buses]
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"
        first = self._ask(0)
        for node, bus in zip(self.nodes[1:], buses[1:], strict=True):
            first.cluster("MEET", "127.0.0.1", node.port, bus)
        for index in range(3):
            begin, end = SLOTS_COUNT * index // 3, SLOTS_COUNT * (index + 1) // 3 - 1
            self._ask(index).cluster("ADDSLOTSRANGE", begin, end)
        self._wait_whole()
        for index in range(3, len(self.nodes)):
            self._ask(index).cluster("REPLICATE", first.cluster("MYID"))

    def _ask(self, index: int) -> "redis.Redis":
        return redis.Redis(port=self.nodes[index].port, decode_responses=True)

    def _wait_whole(self) -> None:
        """Until each knows all the others."""
        for index in range(len(self.nodes)):
            with self._ask(index) as node:
                while True:
                    told = node.cluster("INFO")
                    if told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == len(self.nodes):
                        break
                    time.sleep(SCAN_SECONDS)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        self._wait_whole()

    def close(self) -> None:
        for node in self.nodes:
            node.close()
