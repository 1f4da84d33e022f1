"""The generated reference pages are those of the code as it is."""

import re
import subprocess
import sys
from pathlib import Path

from bellwire.observe.metrics import METRICS
from bellwire.settings import Settings

ROOT = Path(__file__).parent.parent.parent


def test_reference_pages_are_fresh() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/generate-docs", "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{run.stdout}{run.stderr}: run `make docs` and commit the pages"


def test_every_setting_says_what_it_is_for() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    rows = {line.split("|")[1].strip(" `"): line.split("|")[4].strip() for line in page.splitlines() if "| `" in line}
    assert rows.keys() == {f"BELLWIRE_{name.upper()}" for name in Settings.__struct_fields__}
    assert all(len(meaning) > 10 for meaning in rows.values())


def test_every_command_has_its_section() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text()
    for name in ("app create play", "app update app-store", "integration create webhook", "events tail", "simulate"):
        assert f"## bellwire {name}\n" in page


def test_monitoring_guide_asks_for_metrics_that_exist() -> None:
    page = (ROOT / "docs/guide/monitoring.md").read_text()
    asked = set(re.findall(r"\bbellwire_\w+", page))
    assert len(asked) > 15
    known = {metric.name for metric in METRICS}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= known
