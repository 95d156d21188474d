"""Has somebody replaced the standard library's threads and sockets? Then this server cannot run.

Must not know: who asks, how an application is found.
"""

import sys

# Whoever can have done it: the module that does, and its question for one module of the standard library.
PATCHERS = (
    ("gevent", "gevent.monkey", "is_module_patched"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched"),
)


class PatchedError(RuntimeError):
    """The process is monkey-patched; one sentence for its owner."""


def patched_by() -> list[str]:
    """Who has patched the process."""
    return [
        name
        for name, module, question in PATCHERS
        # None, too, where somebody keeps it from being imported.
        if (patcher := sys.modules.get(module)) is not None and getattr(patcher, question)("socket")
    ]


def refuse_patched() -> None:
    """Raises PatchedError when the process is monkey-patched by gevent or eventlet."""
    for name in patched_by():
        raise PatchedError(
            f"the process is monkey-patched by {name}: remove the patching, "
            "handlers run in ordinary threads here; or serve it as it stands with --drop-in [monkey-patched]"
        )
