"""Wang 2023: the search for nearest neighbours, exact, among 5,531 and 1,000,000 keys.

One query at a time and in batches of 64, beside a plain torch.cdist and topk of the same batch.
"""

import argparse
import statistics

import torch

from benchmarks.common import common, device_of, machine, print_table, stopwatch
from speechbrain_ser.models.knn import nearest


@torch.inference_mode()
def run(options: argparse.Namespace) -> None:
    """Print milliseconds of a search."""
    device = device_of(options)
    clock = stopwatch(device)
    draw = torch.Generator().manual_seed(0)
    rows = [["keys", "1 query, ms", "64 queries, ms", "64 queries by cdist and topk, ms"]]
    for size in options.keys:
        keys = torch.randn(size, options.dim, generator=draw)
        keys = torch.nn.functional.normalize(keys, dim=1).to(device)
        queries = torch.nn.functional.normalize(torch.randn(64, options.dim, generator=draw), dim=1)
        queries = queries.to(device)

        def plainly(queries=queries, keys=keys):
            distances, indices = torch.cdist(queries, keys).topk(options.k, largest=False)
            return distances, indices

        searches = [
            lambda queries=queries, keys=keys: nearest(queries[:1], keys, options.k),
            lambda queries=queries, keys=keys: nearest(queries, keys, options.k),
            plainly,
        ]
        times = []
        for search in searches:
            search()
            times.append(statistics.median(clock(search) for _ in range(options.repeats)))
        rows.append([f"{size:,}", *(f"{time:.2f}" for time in times)])
    print(machine(device))
    print(
        f"{options.k} neighbours of {options.dim} dimensions and length 1, float32, median of "
        f"{options.repeats}.\n"
    )
    print_table(rows)


def add_options(command: argparse.ArgumentParser) -> None:
    common(command)
    add = command.add_argument
    add("--keys", type=int, nargs="+", default=[5531, 1_000_000], help="how many")
    add("--dim", type=int, default=768, help="of the embeddings")
    add("--k", type=int, default=32, help="neighbours")
    add("--repeats", type=int, default=5, help="timed searches; their median is shown")
