"""Tables of a kept record again: `python3 bench/e2e/render.py build/bench/results/LABEL.json`.
It must not measure; the record is the truth, the tables are a view of it."""

import argparse
import json
import sys
from pathlib import Path

import report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="+")
    for path in parser.parse_args().records:
        record = json.loads(path.read_text())
        record["summary"] = report.summary(record["runs"])
        path.write_text(json.dumps(record, indent=1) + "\n")
        path.with_suffix(".md").write_text(report.document(record))
        print(path.with_suffix(".md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
