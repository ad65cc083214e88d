"""The verdict on a request while a slider moves, with 10,000 clusters and 100,000 runs, in the server.

A process of its own fills a database, with limits of every scope, and asks for clusters with and without a minimum
and for runs, each time as a new request would.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.bench.figures import Samples, percentile
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

TIMES = 200


def measure(bench: "Bench") -> Samples:
    """Return what each verdict of the slowest kind took."""
    with tempfile.TemporaryDirectory(prefix="studio-verdict-") as folder:
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "STUDIO_URL")}
        environ |= {"STUDIO_DATA": folder, "SECRET_KEY": "only-for-measuring", "LOG_LEVEL": "ERROR"}
        environ |= {"DJANGO_SETTINGS_MODULE": "studio.settings"}
        command = [sys.executable, "-m", "studio.bench.verdict_p95_s", folder]
        subprocess.run(command, env=environ, cwd=CHECKOUT, check=True)  # noqa: S603
        found: dict[str, list[float]] = json.loads((Path(folder) / "found.json").read_text())
    p95 = {kind: percentile(sorted(took), 0.95) for kind, took in found.items()}
    slowest = max(p95, key=lambda kind: p95[kind])
    return Samples(found[slowest], [f"{value:.4f} s {kind}" for kind, value in p95.items()])


def main(folder: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from compute import sizes
    from compute.models import ComputeTarget
    from compute.quotas import ledger
    from compute.quotas.models import Limit
    from compute.quotas.verdict import verdict
    from studio.bench.list_p95_s import fill
    from studio.people.actions import set_role
    from studio.people.models import Team, User, Workspace
    from studio.people.permissions import Role

    call_command("migrate", verbosity=0)
    fill()
    workspace, person = Workspace.objects.get(), User.objects.earliest("pk")
    ComputeTarget.objects.update(vm_size="Standard_D2_v2", vm_priority="Dedicated", min_nodes=1)
    for n in range(200):
        set_role(workspace, User.objects.create_user(f"member{n}"), Role.DATA_SCIENTIST, by=person)
    team = Team.objects.create(workspace=workspace, name="vision")
    for family in ("*", "standarddv2family"):
        Limit.objects.create(family=family, cores=30_000)
        for one in (None, *User.objects.all()):
            Limit.objects.create(family=family, cores=30_000, workspace=workspace, person=one)
    Limit.objects.create(family="*", cores=30_000, workspace=workspace, team=team)
    ledger.rebuild()
    size, target = sizes.by_name("Standard_D2_v2"), ComputeTarget.objects.earliest("pk")
    kinds: dict[str, dict[str, Any]] = {
        "a cluster": {"max_nodes": 50},
        "a cluster with a minimum": {"min_nodes": 3, "max_nodes": 50},
        "a cluster that is resized": {"min_nodes": 3, "max_nodes": 50, "target": target},
        "a run": {"node_count": 4, "person": person, "team": team, "target": target},
    }
    found: dict[str, list[float]] = {}
    for kind, asked in kinds.items():
        for _n in range(TIMES):
            started = time.perf_counter()
            verdict(workspace, size, "Dedicated", **asked)
            found.setdefault(kind, []).append(time.perf_counter() - started)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
