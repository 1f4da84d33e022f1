"""What is installed is what was looked at: hashes for everything, nothing of others in the repository."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent.parent


def committed() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return found.stdout.splitlines()


def test_every_python_package_is_pinned_by_hash_and_from_the_index() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages = [one for one in lock["package"] if one["source"] != {"editable": "."}]
    assert len(packages) > 30
    assert len({json.dumps(package["source"]) for package in packages}) == 1, "all come from one index"
    hosts: set[str | None] = set()
    for package in packages:
        assert list(package["source"]) == ["registry"], package["name"]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]), package["name"]
            url = urlsplit(file["url"])
            assert url.scheme == "https", package["name"]
            hosts.add(url.hostname)
    assert len(hosts) == 1, "and their files from one host"


def test_every_front_end_package_is_pinned_by_hash() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name  # no host is named: npm takes it from the registry it is set up with
        assert not package.get("hasInstallScript"), name
    declared = json.loads((ROOT / "package.json").read_text())
    for version in (declared.get("dependencies", {}) | declared.get("devDependencies", {})).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_nothing_of_others_and_no_secrets_are_committed() -> None:
    files = committed()
    assert files
    for file in files:
        assert "/static/vendor/" not in file
        assert "node_modules/" not in file
        assert not file.endswith((".min.js", ".whl", ".so", ".db", ".p8", ".key", ".pem", ".env")), file


def test_set_up_installs_from_the_locks_alone() -> None:
    scripts = "\n".join(file.read_text() for file in (ROOT / "scripts").iterdir() if file.is_file())
    assert "--frozen" in scripts or "--locked" in scripts
    assert '"ci"' in scripts  # npm's install by the lock file, hashes checked
    assert '"install"' not in (ROOT / "scripts/frontend").read_text()
    assert not re.search(r"curl[^\n]*\|\s*(ba)?sh", scripts)


def test_continuous_integration_runs_what_is_in_the_repository_alone() -> None:
    """No step of somebody else's, whose next version nobody here has looked at."""
    assert not [file for file in committed() if file.startswith((".github/", ".gitlab", ".circleci/"))]
    words = (ROOT / ".ci/run").read_text()
    assert "make test" in words
    assert not re.search(r"\b(curl|wget|pip|npm|uv|docker|https?)\b", words)
