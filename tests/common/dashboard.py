"""The dashboard for Grafana as a value, and its queries.

It must not know which metrics there are.
"""

import json
import re
from typing import Any, Final

from page_blocks import ROOT

DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text("utf-8"))
METRIC: Final = re.compile(r"\bwsframe_\w+")


def expressions() -> list[str]:
    """With Grafana's variables in them."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
