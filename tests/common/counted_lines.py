"""How much Python a call executes, in lines: the same on every machine, whatever else runs there.

It must not know what is counted.
"""

import sys
from collections.abc import Callable
from typing import Any


def lines_run(
    function: Callable[..., Any],
    *arguments: Any,
    refusals: tuple[Any, ...] = (),
    below: str = "",
) -> int:
    """Lines that a call executes: of files whose path begins with `below`, or of all, the standard library's
    among them. `refusals` may end it.
    """
    count = 0

    def trace(frame: Any, kind: str, argument: Any) -> Any:
        nonlocal count
        count += kind == "line"
        return trace if frame.f_code.co_filename.startswith(below) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    except refusals:
        pass
    finally:
        sys.settrace(before)
    return count
