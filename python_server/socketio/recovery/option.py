"""The option `connection_state_recovery`: the log that it asks for.

It must not know what the log keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from python_server.socketio.recovery.log import RECOVERY_MAX_BYTES, RECOVERY_SECONDS, RecoveryLog


def recovery_log(option: bool | Mapping[str, object] | None) -> RecoveryLog | None:
    """The log that the option `connection_state_recovery` asks for, in the official server's words.

    Args:
        option: False or None for none, True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.

    Raises:
        TypeError: another name. ValueError: no number.
    """
    if option is False or option is None:
        return None
    chosen: dict[str, Any] = {} if option is True else dict(option)
    log = RecoveryLog(
        float(chosen.pop("max_disconnection_duration", RECOVERY_SECONDS)),
        int(chosen.pop("max_bytes", RECOVERY_MAX_BYTES)),
    )
    if chosen:
        raise TypeError(f"connection_state_recovery has no option {min(chosen)!r}")
    return log
