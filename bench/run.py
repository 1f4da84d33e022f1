"""Everything in one run: reference programs, other queues and Bellwire by turns, medians, and their ratios.

`python -m bench.run [--quick] [--database sqlite|postgresql|both] [--only NAME...]`. NAMES are those of the groups below. Lines
that start with `ratio` are `ratio NAME VALUE`, with `.sqlite` or `.postgresql` behind the name where both are measured:
Bellwire's rate through the reference program's, or a figure that has a bound of its own (README.md says which). By turns, so that
a machine that gets slower or faster in between touches all alike.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench import (
    accept,
    deliver,
    e2e,
    fairness,
    idle,
    latency,
    memory,
    queues,
    r1_http,
    r2_client,
    r3_insert,
    store,
    verify_apple,
)
from bench.databases import KINDS, Database, databases
from bench.installation import Stores, stores


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    apple_seconds: float
    """Signatures are made beforehand, and a door takes many in a second."""
    deliveries: int
    facts: int
    walks: int
    tasks: dict[str, int]
    """Of the other queues: what they do in some seconds."""
    paced: int
    """Events at half load."""
    idle_s: float
    drain_s: float
    waiting: int


FULL = Plan(
    rounds=5,
    seconds=3,
    apple_seconds=2,
    deliveries=10_000,
    facts=6_000,
    walks=2_000,
    tasks={"pgqueuer": 6_000, "procrastinate": 1_000, "saq": 3_000},
    paced=4_000,
    idle_s=30,
    drain_s=20,
    waiting=1_000_000,
)
QUICK = FULL._replace(
    rounds=3,
    seconds=2,
    apple_seconds=1,
    deliveries=2_000,
    facts=1_500,
    walks=500,
    tasks={"pgqueuer": 1_500, "procrastinate": 300, "saq": 800},
    paced=1_000,
    idle_s=10,
    drain_s=10,
    waiting=100_000,
)

GROUPS = {
    "accept": ("r1_http", "accept_play"),
    "receipts": ("r1_http", "accept_receipts"),
    "apple": ("verify_apple", "accept_apple"),
    "deliver": ("r2_client", "deliver"),
    "store": ("r3_insert", "store"),
    "e2e": ("r1_http", "r2_client", "r3_insert", "e2e"),
    "queues": ("deliver", *queues.QUEUES),
}
"""What is measured by turns for which ratios."""
ONCE = ("latency", "idle", "memory", "fairness")
"""Figures of their own, after the rounds. `latency` needs the rate of `e2e`."""

RATIOS = (
    ("accept_vs_r1", "accept_play", "r1_http"),
    ("accept_receipts_vs_r1", "accept_receipts", "r1_http"),
    ("accept_apple_vs_verify", "accept_apple", "verify_apple"),
    ("deliver_vs_r2", "deliver", "r2_client"),
    ("store_vs_r3", "store", "r3_insert"),
    ("e2e_vs_chain", "e2e", "chain"),
    ("deliver_vs_best_python_queue", "deliver", "best_python_queue"),
)
_COMMON = {"r1_http", "r2_client", "verify_apple", *queues.QUEUES}
"""Measured once a round, whatever the databases: they have none, or always the same."""

Measure = Callable[[], float]


def measurements(of: Stores, plan: Plan, database: Database) -> dict[str, Measure]:
    """What can be measured in a round, each in units a second."""
    found: dict[str, Measure] = {
        "r1_http": lambda: r1_http.measure(plan.seconds),
        "accept_play": lambda: accept.measure_play(of, plan.seconds, database),
        "accept_receipts": lambda: accept.measure_receipts(of, plan.seconds, database),
        "verify_apple": lambda: verify_apple.measure(of, plan.apple_seconds),
        "accept_apple": lambda: accept.measure_apple(of, plan.apple_seconds, database),
        "r2_client": lambda: r2_client.measure(plan.seconds),
        "deliver": lambda: deliver.measure(of, plan.deliveries, database),
        "r3_insert": lambda: r3_insert.measure(plan.seconds, database),
        "store": lambda: store.measure(of, plan.facts, database),
        "e2e": lambda: e2e.measure(of, plan.walks, database),
    }
    return found


def in_a_round(of: Stores, plan: Plan, known: list[Database], wanted: set[str]) -> Iterator[tuple[str, Measure]]:
    """Everything that is wanted, under the name it is printed with; the same on all databases side by side."""
    by_database = {database.kind: measurements(of, plan, database) for database in known}
    for name in next(iter(by_database.values())):
        if name in wanted and name in _COMMON:
            yield name, by_database[known[0].kind][name]
        elif name in wanted:
            for kind, found in by_database.items():
                yield f"{name}.{kind}", found[name]
    server = next((database for database in known if database.server is not None), None)
    for name in queues.QUEUES:
        if name in wanted and server is not None:
            yield name, lambda name=name, server=server: queues.measure(name, server, plan.tasks[name])


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    groups = arguments.only or [*GROUPS, *ONCE]
    wanted = {name for group in groups for name in GROUPS.get(group, GROUPS["e2e"] if group == "latency" else ())}
    kinds = KINDS if arguments.database == "both" else (arguments.database,)
    rates: dict[str, list[float]] = {}
    with stores() as of, databases(kinds) as known:
        for number in range(1, plan.rounds + 1):
            for name, measure in in_a_round(of, plan, known, wanted):
                rates.setdefault(name, []).append(measure())
                print(f"round {number}/{plan.rounds}  {name:28} {rates[name][-1]:9.0f}/s", flush=True)
        middle = {name: statistics.median(values) for name, values in rates.items()}
        _print_rates(rates, middle)
        for database in known:
            for name, value in ratios(middle, database.kind):
                print(f"ratio {name}.{database.kind} {value:.3f}", flush=True)
        for database in known:
            for name, value in figures(of, plan, database, groups, middle):
                print(f"ratio {name}.{database.kind} {value:.2f}", flush=True)
    if "fairness" in groups:
        fairness.compare(rounds=3, events=fairness.EVENTS // 2, backlog=plan.waiting // 10)


def ratios(middle: dict[str, float], kind: str) -> Iterator[tuple[str, float]]:
    """Those of which both sides were measured."""
    rates = {name.removesuffix(f".{kind}"): rate for name, rate in middle.items()}
    links = [rates[name] for name in ("r1_http", "r2_client", "r3_insert") if name in rates]
    if len(links) == 3:
        rates["chain"] = 1 / sum(1 / rate for rate in links)
    others = [rates[name] for name in queues.QUEUES if name in rates]
    if others:
        rates["best_python_queue"] = max(others)
    for name, mine, reference in RATIOS:
        if mine in rates and reference in rates:
            yield name, rates[mine] / rates[reference]


def figures(
    of: Stores, plan: Plan, database: Database, groups: list[str], middle: dict[str, float]
) -> Iterator[tuple[str, float]]:
    """What has a bound of its own: milliseconds, per cent of a core, megabytes."""
    if "latency" in groups:
        half = middle[f"e2e.{database.kind}"] / 2
        yield "p99_commit_to_send_ms", latency.measure(of, database, half, plan.paced)
    if "idle" in groups:
        yield "idle_empty_percent", idle.measure(of, database, plan.idle_s, integrations=0)
        yield "idle_20_integrations_percent", idle.measure(of, database, plan.idle_s, integrations=20)
    if "memory" in groups:
        yield "memory_of_a_backlog_mb", memory.measure(of, database, plan.drain_s, plan.waiting)


def _print_rates(rates: dict[str, list[float]], middle: dict[str, float]) -> None:
    print()
    for name, rate in middle.items():
        print(f"median {name:28} {rate:9.0f}/s  ({min(rates[name]):.0f} to {max(rates[name]):.0f})")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Bellwire beside reference programs.")
    parser.add_argument("--quick", action="store_true", help="three shorter rounds")
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, *ONCE], metavar="NAME", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
