"""`make fuzz`: every fuzzing machine for its share of the time, or one kept record again (--replay FILE).

It must not know what a machine does. Ends with 1 for a finding and for a machine that did nothing; findings
are kept in build/fuzz, also by a run that is interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path

from findings import Player, campaign, fault_of, load

# Name -> (module, class, share of the time, what must have been done at least once).
MACHINES = {
    "server": ("server", "ServerPlayer", 5, ("operations", "answers", "good answers")),
    "model": ("model", "ModelPlayer", 2, ("packets",)),
    "codec": ("codec", "CodecPlayer", 1, ("taken", "refused")),
    "work": ("work", "WorkPlayer", 1, ("deeds",)),
    "http": ("http_differential", "HTTPPlayer", 1, ("agreements",)),
    "live": ("live", "LivePlayer", 2, ("operations", "good answers", "looks")),
    "wires": (
        "wires",
        "WiresPlayer",
        1,
        ("control messages", "broker messages", "link messages", "refusals"),
    ),
}


def player_of(name: str) -> Player:
    module, kind, _, _ = MACHINES[name]
    player: Player = getattr(__import__(module), kind)()
    return player


def replay(path: Path) -> int:
    player, seed, record = load(path, {name: player_of(name) for name in MACHINES})
    fault = fault_of(player, seed, record)
    print(f"{path.name}: {'nothing is found' if fault is None else fault}")
    return 0 if fault is None else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="conversations of each machine")
    parser.add_argument("--seconds", type=float, help="of all machines together")
    parser.add_argument("--machines", nargs="+", choices=MACHINES, default=list(MACHINES))
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored
        signal.signal(number, signal.default_int_handler)
    if options.replay is not None:
        return replay(options.replay)
    if options.count is None and options.seconds is None:
        options.count = 200
    shares = sum(MACHINES[name][2] for name in options.machines)
    failed = 0
    for name in options.machines:
        _, _, share, needed = MACHINES[name]
        seconds = None if options.seconds is None else options.seconds * share / shares
        done: Counter[str] = Counter()
        found: list[Path] = []
        player = player_of(name)
        try:
            print(f"{name} begins", flush=True)
            campaign(player, options.seed, options.count, seconds, done, found)
        except KeyboardInterrupt:
            failed = 130
        finally:
            player.close()
        idle = [what for what in needed if not done[what]]
        print(f"{name}, seed {options.seed}: {dict(done)}", flush=True)
        for path in found:
            print(f"  kept: {path}")
        if failed == 130:
            break
        if idle:
            print(f"  {name} did nothing: no {', '.join(idle)}")
        failed = failed or bool(found or idle)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
