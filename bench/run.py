"""Everything in one run: the reference programs and Bellwire's own rates by turns, medians, and their ratios.

`python -m bench.run [--quick]`. Lines that start with `ratio` are `ratio NAME VALUE`: Bellwire's rate through the
reference program's. By turns, so that a machine that gets slower or faster in between touches all alike.
"""

import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

from bench import accept, deliver, e2e, r1_http, r2_client, r3_insert, store
from bench.installation import Stores, stores


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    deliveries: int
    facts: int
    walks: int


FULL = Plan(rounds=5, seconds=3, deliveries=6_000, facts=4_000, walks=1_500)
QUICK = Plan(rounds=3, seconds=2, deliveries=2_000, facts=1_500, walks=500)

RATIOS = (
    ("accept_vs_r1", "accept_play", "r1_http"),
    ("accept_apple_vs_r1", "accept_apple", "r1_http"),
    ("accept_receipts_vs_r1", "accept_receipts", "r1_http"),
    ("deliver_vs_r2", "deliver", "r2_client"),
    ("store_vs_r3", "store", "r3_insert"),
    ("e2e_vs_chain", "e2e", "chain"),
)


def measurements(of: Stores, plan: Plan) -> dict[str, Callable[[], float]]:
    """What is measured in each round, each in units a second."""
    return {
        "r1_http": lambda: r1_http.measure(plan.seconds),
        "accept_play": lambda: accept.measure_play(of, plan.seconds),
        "accept_apple": lambda: accept.measure_apple(of, plan.seconds),
        "accept_receipts": lambda: accept.measure_receipts(of, plan.seconds),
        "r2_client": lambda: r2_client.measure(plan.seconds),
        "deliver": lambda: deliver.measure(of, plan.deliveries),
        "r3_insert": lambda: r3_insert.measure(plan.seconds),
        "store": lambda: store.measure(of, plan.facts),
        "e2e": lambda: e2e.measure(of, plan.walks),
    }


def main() -> None:
    """Measure and print."""
    plan = QUICK if "--quick" in sys.argv else FULL
    rates: dict[str, list[float]] = {}
    with stores() as of:
        for round_number in range(1, plan.rounds + 1):
            for name, measure in measurements(of, plan).items():
                rates.setdefault(name, []).append(measure())
                print(f"round {round_number}/{plan.rounds}  {name:16} {rates[name][-1]:9.0f}/s", flush=True)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    middle["chain"] = 1 / sum(1 / middle[name] for name in ("r1_http", "r2_client", "r3_insert"))
    print()
    for name, rate in middle.items():
        low, high = min(rates.get(name, [rate])), max(rates.get(name, [rate]))
        print(f"median {name:16} {rate:9.0f}/s  ({low:.0f} to {high:.0f})")
    for name, mine, reference in RATIOS:
        print(f"ratio {name} {middle[mine] / middle[reference]:.3f}")


if __name__ == "__main__":
    main()
