"""Where every thread of this process stands, as text. Any thread may ask, whatever the others do.

Must not know: what the threads are for.
"""

from __future__ import annotations

import sys
import traceback
from itertools import groupby

from python_server.net.threads import current_thread_id, living_threads

# Of one thread, the innermost; recursion may be a thousand deep.
FRAMES_MAX_COUNT = 60


def stacks_of_all(loop: int) -> str:
    """Threads that stand in the same place, idle ones, share a paragraph. `loop`: the id of that thread."""
    names = {thread.ident: thread.name for thread in living_threads()}
    stacks = [
        ("".join(traceback.format_stack(frame, FRAMES_MAX_COUNT)), names.get(thread, f"thread {thread}"))
        for thread, frame in sys._current_frames().items()
        if thread not in (loop, current_thread_id())
    ]
    texts = [f"the loop's thread, {names.get(loop, loop)}:\n{stack_of(loop)}"]
    for stack, group in groupby(sorted(stacks), key=lambda each: each[0]):
        texts.append(f"{', '.join(name for _, name in group)}:\n{stack}")
    return "\n".join(texts)


def stack_of(thread: int) -> str:
    """The last call stands last; "" for one that has ended."""
    frame = sys._current_frames().get(thread)
    return "".join(traceback.format_stack(frame, FRAMES_MAX_COUNT)) if frame is not None else ""


def line_of(thread: int) -> str:
    """The line that it runs, with its file and function; "" for one that has ended."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
