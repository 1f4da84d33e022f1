"""Every dependency has its sentence in the record, and is really used."""

import json
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RECORD = ROOT / "docs/decisions/0001-dependencies.md"
LOADED_BY_UVICORN = {"httptools", "uvloop"}
LOADED_BY_SQLALCHEMY = {"psycopg"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in requirements}


def declared() -> tuple[set[str], set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = names(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        runtime |= names(extra)
    development = names(project["build-system"]["requires"])
    for group in project["dependency-groups"].values():
        development |= names(group)
    return runtime, development - runtime


def npm() -> set[str]:
    package = json.loads((ROOT / "package.json").read_text())
    return {*package.get("dependencies", {}), *package.get("devDependencies", {})}


def test_every_dependency_has_its_sentence_and_every_sentence_its_dependency() -> None:
    rows = re.findall(r"^\| ([a-z][\w.-]*) \| \d[^|]*\| ([^|]{20,}) \|$", RECORD.read_text(), re.MULTILINE)
    runtime, development = declared()
    assert {name for name, _ in rows} == runtime | development | npm()


def test_every_runtime_dependency_is_imported() -> None:
    sources = [path.read_text() for path in (ROOT / "bellwire").rglob("*.py")]
    imported = {match for source in sources for match in re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE)}
    distributions = {
        name.lower().replace("_", "-") for module in imported for name in packages_distributions().get(module, [])
    }
    unused = declared()[0] - distributions - LOADED_BY_UVICORN - LOADED_BY_SQLALCHEMY
    assert not unused
