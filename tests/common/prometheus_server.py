"""A real Prometheus that scrapes one address, and what asks it.

It must not know what is scraped.
"""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from asked_workers import PATIENCE_SECONDS
from outside_tools import outside_tool
from own_ports import port_of_its_own
from page_blocks import blocks_of


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Prometheus:
    """Debian's package, which scrapes one address each second."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port_of_its_own()
        configuration = folder / "prometheus.yml"
        documented = next(block for block in blocks_of("docs/operations.md", "yaml") if "scrape" in block)
        assert documented.count("127.0.0.1:9464") == 1
        here = documented.replace("127.0.0.1:9464", f"127.0.0.1:{port}")
        configuration.write_text(f"global: {{scrape_interval: 1s}}\n{here}")
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [
                outside_tool("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def query(self, text: str) -> dict[str, float]:
        """The values of now, by the label `worker`."""
        try:
            answer = self.ask(text)
        except OSError:  # it starts
            return {}
        found = answer["data"]["result"]
        return {each["metric"].get("worker", ""): float(each["value"][1]) for each in found}

    def ask(self, text: str) -> Any:
        """The answer to a query as it is. Raises OSError: it does not listen yet, or is not ready."""
        words = urllib.parse.urlencode({"query": text})
        status, body = get(self.port, f"/api/v1/query?{words}")
        if status == 503:
            raise OSError(body)
        return json.loads(body)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
