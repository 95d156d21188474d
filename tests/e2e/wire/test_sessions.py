"""What a session costs and how parked polls are answered, at a size for every day.

It must not know how it is measured: drivers/sessions.py does, also at 5,000.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[1] / "drivers" / "sessions.py"
SESSION_MAX_BYTES = 8192


@pytest.mark.parametrize("way", ["polling", "websocket"])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_costs_at_most_8_kib_and_no_thread(way: str) -> None:
    """R19: a parked poll pins no thread."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--sessions", "1000", "--way", way],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    print(done.stdout)
    costs = [int(number) for number in re.findall(r": (\d+) bytes", done.stdout)]
    threads = {int(number) for number in re.findall(r"(\d+) threads", done.stdout)}
    assert costs
    assert max(costs) <= SESSION_MAX_BYTES
    assert max(threads) <= 2
    assert way == "websocket" or "answered all 1000 parked polls" in done.stdout
