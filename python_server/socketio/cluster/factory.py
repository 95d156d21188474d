"""Which backplane a hub is given: none, pipes to the workers of this machine, a broker to other machines.

Must not know: settings, or how a backplane reaches anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from python_server.socketio.cluster.broker.backplane import BrokerServices, RedisBackplane
from python_server.socketio.cluster.broker.leader import Place
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import Backplane, BrokerOptions, NoBackplane
from python_server.workers.peers import Peers


def make_backplane(
    path: str,
    siblings: Peers | None,
    call_later: Callable[[float, Callable[[], Any]], Any],
    complain: Callable[[str, str], None],
) -> Backplane:
    """The backplane of the hub mounted under `path`.

    Args:
        siblings: the other workers; None for a process without.
    """
    if siblings is None:
        return NoBackplane()
    return PipeBackplane(siblings, path, call_later, complain)


def join_broker(
    options: BrokerOptions,
    inner: Backplane,
    host_id: str,
    siblings: Peers | None,
    services: BrokerServices,
) -> RedisBackplane:
    """The backplane of a hub whose machine is one of many.

    Args:
        inner: how the other workers of this machine are reached. host_id: of the machine.

    Raises:
        BrokerError: see `broker.connector`.
    """
    if siblings is None:
        return RedisBackplane(options, inner, Place(host_id, 0, lambda: True), services)
    place = Place(
        host_id,
        siblings.index,
        lambda: siblings.met and siblings.leader(),
        lambda: siblings.met,
        siblings.any_draining,
    )
    backplane = RedisBackplane(options, inner, place, services)
    siblings.on_changed(backplane.look)
    return backplane
