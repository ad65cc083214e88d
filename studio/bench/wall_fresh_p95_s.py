"""A change to every one of 200 open walls, at 50 changes a second."""

import re
import threading
import time
from typing import TYPE_CHECKING

import psutil

from studio.bench.figures import Samples
from studio.bench.walls import Wall, watch

if TYPE_CHECKING:
    from studio.bench import Bench

WALLS, CHANGES, RATE = 200, 1500, 50  # changes a second
SHOWN = re.compile(rb"runs wait</dt><dd>(\d+)</dd>")


def measure(bench: "Bench") -> Samples:
    """Measure from the moment that a change is stored until the last wall was sent it; each change is one more run."""
    product = bench.product
    path, workspace = product.ask(_link)
    web = psutil.Process(product.pids()["web"])
    walls = [Wall(product.url, path, SHOWN) for _n in range(WALLS)]
    watch(walls, 0, 60)
    stored: dict[int, float] = {}
    changes = threading.Thread(target=lambda: product.ask(lambda: _change(workspace, stored)))
    began, before = time.monotonic(), sum(web.cpu_times()[:2])
    changes.start()
    watch(walls, CHANGES, 2 * CHANGES / RATE + 60)
    share = (sum(web.cpu_times()[:2]) - before) / (time.monotonic() - began)
    memory = web.memory_info().rss / 1e6
    changes.join()
    took = [max(wall.seen[number] for wall in walls) - at for number, at in stored.items()]
    for wall in walls:
        wall.socket.close()
    product.ask(_end)
    rate = CHANGES / (max(stored.values()) - min(stored.values()))
    facts = f"{WALLS} walls, {rate:.0f} changes/s; the web process: {share:.2f} of a core (goal 0.5)"
    return Samples(took, [f"{facts}, {memory:.0f} MB (goal 300)"])


def _link() -> tuple[str, int]:
    """Return the address of the socket of a new link to the overview, and the workspace."""
    from studio.dashboards.actions import make_dashboard, make_link
    from studio.people.models import User, Workspace

    workspace, by = Workspace.objects.get(name="default"), User.objects.get(username="admin")
    board = make_dashboard(workspace, "bench", by=by, overview=True)
    _made, token = make_link(board, "bench", days=1, shows=set(), by=by)
    return f"/ws/d/{token}/?language=en", workspace.pk


def _change(workspace_id: int, stored: dict[int, float]) -> None:
    """Let one more run wait, again and again; none of them is ever started."""
    from runs.models import Experiment, Run
    from runs.states import RunStatus

    experiment, _made = Experiment.objects.get_or_create(workspace_id=workspace_id, name="walls")
    began = time.monotonic()
    for number in range(1, CHANGES + 1):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        run = Run.objects.create(
            workspace_id=workspace_id,
            experiment=experiment,
            number=number,
            run_id=f"walls_{number}",
            display_name=f"wall_{number}",
            status=RunStatus.QUEUED,
            target_name="none",
        )
        stored[number] = time.time()
        run.moved()


def _end() -> None:
    from runs.models import Run
    from runs.states import RunStatus

    Run.objects.filter(experiment__name="walls").update(status=RunStatus.CANCELED)
