"""The code that the guides tell people to copy does what they say."""

import hashlib
import hmac
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent.parent.parent / "docs/guide/webhooks.md"
SECRET = "whsec_0123456789abcdef0123456789abcdef"
BODY = '{"api_version":"1.0","event":{"type":"TEST","name":"Zoë"}}'.encode()
NOW = 1_790_000_000


def sample(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


def header(sent_at: int = NOW, secret: str = SECRET) -> str:
    mac = hmac.new(secret.encode(), f"{sent_at}.".encode() + BODY, hashlib.sha256).hexdigest()
    return f"t={sent_at},v1={mac}"


def python_sample() -> Callable[[str, bytes], bool]:
    names: dict[str, Callable[[str, bytes, str, float], bool]] = {}
    exec(sample("python"), names)  # noqa: S102 - our own guide
    return lambda given, body: names["is_genuine"](given, body, SECRET, NOW + 10)


def node_sample() -> Callable[[str, bytes], bool]:
    node = shutil.which("node") or ""
    if not node:
        pytest.skip("no Node.js on this machine")
    script = sample("js") + (
        "\nconst [header, body, secret, now] = JSON.parse(process.argv[1]);"
        "\nconsole.log(isGenuine(header, Buffer.from(body, 'utf8'), secret, now));"
    )

    def run(given: str, body: bytes) -> bool:
        argument = json.dumps([given, body.decode(), SECRET, NOW + 10])
        command = [node, "--input-type=module", "-e", script, argument]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "true"

    return run


@pytest.mark.parametrize("language", ["python", "js"])
def test_signature_sample(language: str) -> None:
    is_genuine = python_sample() if language == "python" else node_sample()
    assert is_genuine(header(), BODY)
    assert not is_genuine(header(), BODY + b" ")
    assert not is_genuine(header(secret="whsec_other"), BODY)
    assert not is_genuine(header(sent_at=NOW - 600), BODY)
    assert not is_genuine("", BODY)
    assert not is_genuine("t=,v1=", BODY)
