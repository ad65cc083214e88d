"""From the end of the grace period to an empty tree of 50 processes over SSH, some forked away, some deaf to TERM."""

from datetime import datetime
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import machines

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS, PROCESSES = 5, 50
SCRIPT = f"""
import os, signal, time
for n in range({PROCESSES} - 1):
    if os.fork() == 0:
        if n % 3 == 0:  # nobody's child, in a session of its own
            os.setsid()
            if os.fork():
                os._exit(0)
        if n % 2 == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 3)
        time.sleep(600)
        os._exit(0)
print("the tree stands", flush=True)
time.sleep(600)
"""


def measure(bench: "Bench") -> Samples:
    product = bench.product
    from django.conf import settings

    from compute.models import Job
    from runs.actions import cancel_run
    from runs.models import Run
    from studio.people.models import User

    with machines(product, 1) as (target,):
        runs = [product.run(SCRIPT, target) for _ in range(RUNS)]
        product.wait_for_statuses(runs, "Running")
        stands = [product.log_file(run) for run in runs]
        product.wait_until(lambda: all(file.exists() and "stands" in file.read_text() for file in stands))

        def cancel() -> None:
            by = User.objects.get(username="admin")
            for run in Run.objects.filter(pk__in=[run.pk for run in runs]).select_related("workspace"):
                cancel_run(run, by=by)

        product.ask(cancel)
        product.wait_for_statuses(runs, "Canceled")
        ids = [run.run_id for run in runs]
        receipts = product.ask(lambda: [job.receipt["ranks"][0] for job in Job.objects.filter(run_id__in=ids)])
    took, killed = [], 0
    for receipt in receipts:
        if receipt["left"] or not receipt["empty_at"]:
            raise RuntimeError(f"A tree is not empty: {receipt['left']}")
        term, empty = (datetime.fromisoformat(receipt[name]) for name in ("term_at", "empty_at"))
        took.append((empty - term).total_seconds() - settings.GRACE_SECONDS)
        killed += sum(entry["signal"] == "SIGKILL" for entry in receipt["signalled"])
    return Samples(took, [f"{RUNS} trees of {PROCESSES}; KILL to {killed} processes, none left"])
