"""The page that says which kinds of attack are tested says the truth."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs/guide/security.md"

KINDS = (
    "signature truncation",
    "only the first signature checked",
    "replay",
    "forged JWS chain",
    "algorithm confusion",
    "unauthenticated callbacks",
    "server-side request forgery",
    "address classification",
    "SQL injection through filters",
    "cross-project access by id",
    "secrets in logs and dumps",
    "stored script in payload viewers",
    "resource exhaustion",
    "header injection",
    "retry amplification",
    "duplicate in-flight sends",
    "NUL and invalid text",
    "phone-home",
    "response tampering",
    "supply chain",
)


def rows() -> dict[str, list[str]]:
    """Tests by the kind of attack, as the page's table names them."""
    table = PAGE.read_text().split("## Known kinds of attack")[1]
    found = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE)
    return {kind: re.findall(r"`([^`]+)`", tests) for kind, tests in found if not kind.startswith(("kind", "--"))}


def test_every_kind_of_past_advisory_has_tests() -> None:
    assert set(rows()) == set(KINDS)
    assert len(KINDS) == 20


def test_the_tests_that_are_named_exist() -> None:
    for kind, named in rows().items():
        assert named, kind
        for one in named:
            name, _, function = one.partition("::")
            file = TESTS / name
            assert file.is_file(), one
            functions = {
                node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)
            }
            assert any(found.startswith("test_") for found in functions), one
            assert not function or function in functions, one
