"""From the end of the grace period to an empty process tree, of trees that double-fork and ignore TERM."""

from datetime import datetime
from typing import TYPE_CHECKING

from studio.bench.figures import Samples

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS = 10
SCRIPT = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(5):  # each is nobody's child here, in a session of its own, and ignores TERM, too
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 3)
        time.sleep(600)
    os.wait()
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

    runs = [product.run(SCRIPT) for _ in range(RUNS)]
    product.wait_for_statuses(runs, "Running")
    product.wait_until(lambda: all("stands" in product.log_file(run).read_text() for run in runs))

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
    return Samples(took, [f"{RUNS} trees at once; KILL to {killed} processes, none left"])
