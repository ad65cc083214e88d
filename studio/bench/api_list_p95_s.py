"""The API's lists with 10,000 targets and 100,000 runs: the slowest of all sorts, filters and places, in the server.

The rows and the way of asking are those of list_p95_s; a program asks, with a token, for parts of 50 and of 200.
"""

import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples, percentile
from studio.bench.list_p95_s import EXPERIMENTS, LOOKS, RUNS, SLOWEST, TARGETS, TIMES, fill, queue, times
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench


def measure(bench: "Bench") -> Samples:
    """Return what the slowest address took, each time it was asked for."""
    with tempfile.TemporaryDirectory(prefix="studio-api-lists-") as folder:
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "STUDIO_URL")}
        environ |= {"STUDIO_DATA": folder, "SECRET_KEY": "only-for-measuring", "ALLOWED_HOSTS": "testserver"}
        environ |= {"DJANGO_SETTINGS_MODULE": "studio.settings", "LOG_LEVEL": "WARNING"}
        command = [sys.executable, "-m", "studio.bench.api_list_p95_s", folder]
        with queue(Path(folder)):
            subprocess.run(command, env=environ, cwd=CHECKOUT, check=True)  # noqa: S603
        found: list[tuple[str, list[float]]] = json.loads((Path(folder) / "found.json").read_text())
    notes = [f"{percentile(sorted(took), 0.95):.3f} s {address}" for address, took in found[:SLOWEST]]
    return Samples(found[0][1], ["the slowest:", *notes])


def main(folder: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    fill()
    from studio.people.actions import issue_token
    from studio.people.models import Workspace
    from studio.people.permissions import Right

    workspace = Workspace.objects.get(name="crowd")
    owner = workspace.memberships.select_related("user").order_by("pk")[0].user
    _token, word = issue_token(workspace, owner, "bench", {Right.VIEW_ACTIVITY}, days=1)
    client = Client(headers={"Authorization": f"Bearer {word}"})
    slow = sorted(addresses(), key=lambda address: sorted(times(client, address, LOOKS))[LOOKS // 2])[-SLOWEST * 2 :]
    found = [(address, times(client, address, TIMES)) for address in slow]
    found.sort(key=lambda pair: -percentile(sorted(pair[1]), 0.95))
    (folder / "found.json").write_text(json.dumps(found))


def addresses() -> list[str]:
    """Return every sort, forwards and back, of every filter that matters, at the beginning and near the end."""
    from compute.listing import SORTS as TARGET_SORTS
    from runs.listing import EXPERIMENT_SORTS, SORTS
    from studio.api.kit import cursor_of

    asked = []
    filters = ["", "status=Completed&", "status=Running&", "tag=kernel=rbf&", "tag=nowhere&", "q=brave&", "q=nowhere&"]
    filters += ["target=cluster-00042&", "experiment=experiment-00007&", "mine=true&", "archived=true&"]
    for narrowed, sort, sign in product(filters, SORTS, ("", "-")):
        asked.append(f"runs?{narrowed}sort={sign}{sort}")
        if not narrowed:
            asked.append(f"runs?limit=200&sort={sign}{sort}")
            if sort != "created":  # that goes on at a key, which costs the same anywhere
                asked.append(f"runs?sort={sign}{sort}&cursor={cursor_of(RUNS * 19 // 20 - 500, 10**9)}")
    for narrowed, sort, sign in product(["", "q=experiment-001&", "archived=true&"], EXPERIMENT_SORTS, ("", "-")):
        asked.append(f"experiments?{narrowed}sort={sign}{sort}")
    asked.append(f"experiments?limit=200&cursor={cursor_of(EXPERIMENTS * 9 // 10, 10**9)}")
    for narrowed, sort, sign in product(
        ["", "q=cluster-001&", "q=nowhere&", "state=running&"], TARGET_SORTS, ("", "-")
    ):
        asked.append(f"targets?{narrowed}sort={sign}{sort}")
    asked.append(f"targets?limit=200&cursor={cursor_of(TARGETS * 9 // 10, 10**9)}")
    asked += ["activity?limit=200", "quotas/limits", "members"]
    return [f"/api/v1/w/crowd/{address}" for address in asked]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
