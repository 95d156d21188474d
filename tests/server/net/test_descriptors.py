"""How many connections the descriptors allow (net/descriptors.py).

It must not know the limits of this machine.
"""

import resource

import pytest

from python_server.net import descriptors


@pytest.mark.parametrize(
    ("soft", "connections"), [(1024, 896), (65_536, 57_344), (1, 1), (resource.RLIM_INFINITY, None)]
)
def test_an_eighth_is_left(monkeypatch: pytest.MonkeyPatch, soft: int, connections: int | None) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, resource.RLIM_INFINITY))
    assert descriptors.connections_max_count() == connections


def test_a_system_without_such_limits_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", None)
    assert descriptors.connections_max_count() is None
