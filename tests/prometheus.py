"""A real Prometheus, with a configuration, a storage and a port of its own, and its promtool."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import pytest
import yaml

from tests.controller.cluster import eventually

RULES = Path(__file__).parents[1] / "deploy" / "monitoring" / "rules.yaml"


def write_rules(path: Path) -> Path:
    """The groups of the PrometheusRule, as Prometheus itself reads them."""
    path.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return path


def require_prometheus() -> None:
    """Skips where there is none, and says what to do; in CI that is a failure."""
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        missing = "no prometheus, no promtool: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """What it says, of a text on its standard input for one; it has to be content."""
    require_prometheus()
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """A context manager. targets: addresses to scrape each second, by job. more: of a job, what else its configuration
    says. unwelcome: jobs that are to be refused."""

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, str],
        more: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        unwelcome: int = 0,
    ) -> None:
        require_prometheus()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = folder / "prometheus.log"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(write_rules(folder / "rules.yaml"))],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}], **more.get(job, {})}
                for job, address in targets.items()
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._argv = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={self._address}",
            "--enable-feature=exemplar-storage",
        ]
        self._targets = len(targets) - unwelcome

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        try:
            scraped = "count_over_time(up[1m]) >= 2 and up == 1"
            eventually(lambda: len(self.query(scraped)) == self._targets, why=self._log.read_text())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers; OSError before it is up."""
        assert self._process.poll() is None, self._log.read_text()
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                kind = ConnectionError if error.code == 503 else AssertionError
                raise kind(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[Any]:
        """The series that it gives now; none before the server is up."""
        try:
            return list(self.get("query", query=expression)["result"])
        except OSError:
            return []
