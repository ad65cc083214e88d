"""From the end of the grace period to an empty process tree, of trees that double-fork and ignore TERM."""

from datetime import datetime
from typing import TYPE_CHECKING

from studio.bench.figures import Samples

if TYPE_CHECKING:
    from runs.models import Run
    from studio.bench import Bench
    from studio.bench.product import Product

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
    took, killed = cancel_all(bench.product, [bench.product.run(SCRIPT) for _ in range(RUNS)])
    return Samples(took, [f"{RUNS} trees at once; KILL to {killed} processes, none left"])


def cancel_all(product: "Product", runs: "list[Run]") -> tuple[list[float], int]:
    """Cancel runs whose trees stand; return for each the seconds from the end of its grace period to an empty tree,
    and how many processes were killed. Raises RuntimeError for a tree of which something is left.
    """
    from django.conf import settings

    from compute.models import Job
    from runs.actions import cancel_run
    from runs.models import Run
    from studio.people.models import User

    product.wait_for_statuses(runs, "Running")
    logs = [product.log_file(run) for run in runs]
    product.wait_until(lambda: all(log.exists() and "stands" in log.read_text() for log in logs))

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
    return took, killed
