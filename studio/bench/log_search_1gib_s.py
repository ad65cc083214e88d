"""A log of 1 GiB: a rare word near its end, from the question to the last word of the answer."""

import json
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote

from studio.bench.figures import Samples
from studio.bench.log_open_1gib_s import AT, LINE, RARE, large_log

if TYPE_CHECKING:
    from studio.bench import Bench

TIMES = 5


def measure(bench: "Bench") -> Samples:
    product = bench.product
    run, cookie, took = large_log(product), product.cookie(), []
    address = f"{product.url}/w/default/runs/{run.run_id}/logs/1/std_log.txt/ask?search={quote(RARE)}"
    for _ in range(TIMES):
        request = urllib.request.Request(address, headers={"Cookie": f"{cookie[0]}={cookie[1]}"})  # noqa: S310
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            told = [json.loads(line) for line in answer]
        took.append(time.monotonic() - started)
        if str(AT * LINE) not in json.dumps(told):
            raise RuntimeError(f"It was not found: {told[:3]}")
    return Samples(took, ["upper and lower case alike"])
