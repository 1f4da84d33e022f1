"""`make chaos`: rounds until so many processes were killed; one line a round, a table at the end.

SEED=... plays the same plan again, and ROUND=... of it one round alone.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.fleet import FAKETIME, NAMES
from tests.chaos.rounds import Plan, Result, play

KILLS_A_ROUND = 10


def main() -> int:
    """Exit code 1 when anything was found."""
    options = _options()
    print(f"seed {options.seed}: play it again with `make chaos SEED={options.seed} KILLS={options.kills}`")
    for missing, what in ((FAKETIME, "clock jumps (libfaketime)"), (NAMES, "DNS flaps (libnss-wrapper)")):
        if missing is None:
            print(f"not installed, so left out: {what}")
    base = Path(tempfile.mkdtemp(prefix="bw-chaos-"))
    results: list[Result] = []
    began = time.monotonic()
    plans = _plans(options)
    for number, plan in enumerate(plans, 1):
        if options.round not in (None, number):
            continue
        folder = base / f"round-{number}"
        folder.mkdir()
        result = asyncio.run(play(plan, folder))
        results.append(result)
        _tell(number, len(plans), result)
        if not result.faults:
            shutil.rmtree(folder, ignore_errors=True)
    return _sum_up(results, time.monotonic() - began, base)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--round", type=int)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    return parser.parse_args()


def _plans(options: argparse.Namespace) -> list[Plan]:
    chance = random.Random(options.seed)
    databases = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    left, plans = options.kills, list[Plan]()
    while left > 0:
        database = databases[len(plans) % len(databases)]
        preload = (len(plans) // len(databases)) % 3 != 2 and (FAKETIME is not None or NAMES is not None)
        kills = min(left, KILLS_A_ROUND)
        tell = _say if options.verbose else None
        plans.append(Plan(seed=chance.getrandbits(32), database=database, kills=kills, preload=preload, tell=tell))
        left -= kills
    return plans


def _say(line: str) -> None:
    print(f"    {line}", flush=True)


def _tell(number: int, of: int, result: Result) -> None:
    verdict = result.verdict
    state = "ok" if not result.faults else "FAILED"
    print(
        f"round {number}/{of} {result.plan.database:8} {state}: {result.kills} kills, {result.on_the_wire} requests cut, "
        f"{verdict.notifications} notifications, {verdict.receipts} receipts, {verdict.events} events, "
        f"{verdict.requests} requests, {verdict.duplicates} duplicates, {result.seconds:.0f} s",
        flush=True,
    )
    for fault in result.faults:
        print(f"    {fault}", flush=True)


def _sum_up(results: list[Result], seconds: float, base: Path) -> int:
    troubles = sum((result.troubles for result in results), Counter[str]())
    overtaken = sum((result.verdict.overtaken for result in results), Counter[str]())
    print(f"\n{'trouble':34} bursts")
    for name, count in troubles.most_common():
        print(f"{name:34} {count:6}")
    rows = (
        ("rounds", len(results)),
        ("SIGKILLs", sum(result.kills for result in results)),
        ("requests on the wire when cut", sum(result.on_the_wire for result in results)),
        ("notifications accepted", sum(result.verdict.notifications for result in results)),
        ("receipts accepted", sum(result.verdict.receipts for result in results)),
        ("events", sum(result.verdict.events for result in results)),
        ("requests at the receiver", sum(result.verdict.requests for result in results)),
        ("duplicates", sum(result.verdict.duplicates for result in results)),
        ("of those, answered too late", sum(result.verdict.too_late for result in results)),
        ("most duplicates of a lane after a cut", max((r.verdict.most_after_a_cut for r in results), default=0)),
        ("overtaken in the strict lane", overtaken["strict"]),
        ("overtaken in the bounded lane", overtaken["bounded"]),
        ("overtaken in the careless lane", overtaken["careless"]),
        ("faults", sum(len(result.faults) for result in results)),
        ("seconds", round(seconds)),
    )
    print(f"\n{'figure':38} value")
    for name, value in rows:
        print(f"{name:38} {value:5}")
    for disk in sorted({result.disk for result in results if result.disk}):
        print(f"the disk was full by {disk}")
    failed = [result for result in results if result.faults]
    if failed:
        print(f"data and logs of the rounds that failed: {base}")
        return 1
    shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
