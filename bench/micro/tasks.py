"""All tasks of the micro benchmarks, or those whose names a pattern finds.

It must not make what a task needs before its turn, nor time anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import deflate_cases
import echo_cases
import mask_cases
import receive_cases
import send_cases
from cases import Task

KINDS = (receive_cases, send_cases, deflate_cases, echo_cases, mask_cases)


def all_tasks(pattern: str = "") -> Iterator[Task]:
    """In the page's order; those in whose names `pattern`, a regular expression, is found."""
    for kind in KINDS:
        for task in kind.tasks():
            if re.search(pattern, task.name):
                yield task
