"""The chat's messages under many threads: a page shows each id once, so no two messages may have the same.

It must not know the page, or any server: it calls what remembers a message.
"""

import importlib.util
import sys
import threading
from pathlib import Path

import pytest

CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat" / "app.py"
THREADS_COUNT = 8
MESSAGES_COUNT = 1500  # of a thread


def test_each_message_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_STORE", raising=False)
    spec = importlib.util.spec_from_file_location("chat_example", CHAT)
    assert spec is not None
    assert spec.loader is not None
    chat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chat)
    ids: list[int] = []

    def talk() -> None:
        ids.extend(chat.remember("Kitchen", "Ada", "Hello")["id"] for _ in range(MESSAGES_COUNT))

    threads = [threading.Thread(target=talk) for _ in range(THREADS_COUNT)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns often
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        chat.store.close()
    assert len(set(ids)) == THREADS_COUNT * MESSAGES_COUNT
