"""Time count_cost for each network: the median of several rounds.

Usage: python scripts/benchmark_cost.py [--rounds N]
"""

import argparse
import statistics
import time

from keras_sepnets.cost.counting import count_cost
from keras_sepnets.models.registry import NETWORKS


def main() -> None:
    """Build each network once, then count its cost repeatedly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    for name, network in NETWORKS.items():
        model = network.build()
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            count_cost(model)
            times.append(1e3 * (time.perf_counter() - begin))
        print(f"{name:<13} {statistics.median(times):5.1f} ms ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()
