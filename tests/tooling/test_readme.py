"""The commands that README and guides tell people to type exist, with the options they are given."""

import re
import shlex
from pathlib import Path

import click
import pytest

from bellwire.cli import main

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/guide").glob("*.md"))]


def told(page: Path) -> list[str]:
    """Command lines in the page's code blocks, comments and line breaks taken out."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.startswith("bellwire ")]


COMMANDS = sorted({line for page in PAGES for line in told(page)})


def test_there_is_something_to_type() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists_with_its_options(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SubscriptionKey_ABC123DEFG.p8", "key.json"):
        (tmp_path / name).write_text("content")
    words = shlex.split(line)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="bellwire")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
        context = click.Context(command, info_name=command.name, parent=context)
    command.parse_args(context, words)


def test_every_folder_is_on_the_map() -> None:
    readme = (ROOT / "README.md").read_text()
    for folder in (ROOT / "bellwire").iterdir():
        if folder.is_dir() and (folder / "__init__.py").exists():
            assert f"`bellwire/{folder.name}/`" in readme


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *PAGES):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
