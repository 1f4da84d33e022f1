"""How fast the doors take store notifications and receipts: verified, decoded, durable, answered.

Play: one signed push for all (Pub/Sub uses a token for up to an hour), each message its own. App Store: three
signatures and two certificate chains a notification. A receipt is worked through before it is answered: the customer,
the purchase, the event and its delivery are committed, so it runs against the whole hub. Every body is sent once: should
they run out, the hub is asked for a page that it does not have, and the measurement fails.
"""

import tempfile
from pathlib import Path

from bench.databases import SQLITE, Database, databases
from bench.installation import Installation, Stores, hub_process, installation, stores
from bench.processes import nginx, wrk

SCRIPT = """
wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'
{headers}
local bodies = {{}}
for line in io.lines('{file}') do bodies[#bodies + 1] = line end
local number = 0
request = function()
  number = number + 1
  if number > #bodies then return wrk.format(nil, '/no-bodies-left') end
  return wrk.format(nil, nil, nil, bodies[number])
end
"""


def measure_play(of: Stores, seconds: float, database: Database = SQLITE) -> float:
    """Notifications a second."""
    with installation(of, "http://127.0.0.1:9/", database) as installed:
        headers = {"Authorization": of.play_authorization}
        path = installed.notification_path(installed.google)
        return _rate(installed, path, of.folder / "play_purchases", headers, seconds, doors_only=True)


def measure_apple(of: Stores, seconds: float, database: Database = SQLITE) -> float:
    """Notifications a second."""
    with installation(of, "http://127.0.0.1:9/", database) as installed:
        path = installed.notification_path(installed.apple)
        return _rate(installed, path, of.folder / "apple_purchases", {}, seconds, doors_only=True)


def measure_receipts(of: Stores, seconds: float, database: Database = SQLITE) -> float:
    """Receipts a second, their deliveries going out at the same time."""
    with nginx() as sink, installation(of, sink, database) as installed:
        headers = {"Authorization": f"Bearer {installed.sdk_key}", "X-Platform": "iOS"}
        return _rate(installed, "/v1/receipts", of.folder / "apple_receipts", headers, seconds, doors_only=False)


def _rate(
    installed: Installation, path: str, file: Path, headers: dict[str, str], seconds: float, *, doors_only: bool
) -> float:
    lines = "\n".join(f"wrk.headers['{name}'] = '{value}'" for name, value in headers.items())
    with tempfile.TemporaryDirectory() as folder, hub_process(installed, doors_only=doors_only) as hub:
        script = Path(folder) / "post.lua"
        script.write_text(SCRIPT.format(headers=lines, file=file))
        load = wrk(hub.url + path, script=script, seconds=seconds)
    if load.failures:
        bodies = file.read_bytes().count(b"\n") + 1
        raise RuntimeError(
            f"{load.failures} of {load.answers} requests to {path} were refused; there were {bodies} bodies to send"
        )
    return load.rate


def main() -> None:
    """Each door once, on each database."""
    with stores() as of, databases() as known:
        for database in known:
            print(f"accept_play {database.kind} {measure_play(of, 3, database):.0f} notifications/s", flush=True)
            print(f"accept_apple {database.kind} {measure_apple(of, 2, database):.0f} notifications/s", flush=True)
            print(f"accept_receipts {database.kind} {measure_receipts(of, 3, database):.0f} receipts/s", flush=True)


if __name__ == "__main__":
    main()
