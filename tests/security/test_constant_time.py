"""What is secret is compared in constant time, or looked up by its hash; each exception is a decision with a reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent / "bellwire"
SECRET = re.compile(r"(^|[._])(token|secret|secrets|signature|digest|csrf|password|mac|hmac|key_hash|csrf_token)$")

DECIDED = {
    "stores/apple/adapter.py: held.app.secrets == app.secrets": "both are ours: whether an app was changed",
    "stores/google/reading.py: reading.known.replaces_key == token": "purchase tokens, of which one is already known",
    "stores/google/token.py: self._tokens.get(access, ('', 0.0))[0] == token": "both are ours: which token was refused",
    "db/users.py: sessions.c.token_hash == _hash(token)": "a look-up by SHA-256 of 192 random bits, in the database",
}
"""Compares that no stranger can time to any use."""


def compares() -> Iterator[str]:
    for file in sorted(ROOT.rglob("*.py")):
        relative = file.relative_to(ROOT).as_posix()
        if relative.startswith("simulator/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [ast.unparse(side).removesuffix("()") for side in (node.left, *node.comparators)]
            named = any(SECRET.search(side) or "_hash(" in side for side in sides)
            constant = any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
            if named and not constant:
                yield f"{relative}: {ast.unparse(node)}"


def test_secrets_are_compared_in_constant_time() -> None:
    found = set(compares())
    assert found == set(DECIDED), "compare with hmac.compare_digest, or say here why it need not be"


def test_what_is_presented_goes_through_compare_digest() -> None:
    users = [
        "web/dashboard/login.py",
        "web/metrics.py",
        "db/users.py",
    ]
    for name in users:
        assert "hmac.compare_digest" in (ROOT / name).read_text(), name


def test_keys_and_tokens_are_looked_up_by_hash_or_are_no_proof() -> None:
    """API keys and sessions by SHA-256. An app's token is found in a table as it is: it routes, and proves nothing."""
    assert "config.key(hash_key(key))" in (ROOT / "web/auth.py").read_text()
    assert "apps_by_token.get(token)" in (ROOT / "web/notifications/surface.py").read_text()
