"""Running the command line in this process, on a data folder of its own."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from bellwire.cli import main

Bellwire = Callable[..., Result]


@pytest.fixture
def bellwire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bellwire:
    """`bellwire("project", "create", "Name")`; `status` is the exit status that is expected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path / "data"))
    runner = CliRunner(catch_exceptions=False)

    def run(*arguments: str, status: int = 0, stdin: str | None = None) -> Result:
        result = runner.invoke(main, arguments, input=stdin)
        assert result.exit_code == status, result.output
        return result

    return run


def answer(result: Result) -> dict[str, object]:
    """The one JSON object on stdout."""
    return msgspec.json.decode(result.stdout, type=dict[str, object])
