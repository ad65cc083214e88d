"""`manage.py prepare`: brings database and static files up to date, and makes what the first start needs."""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import BaseCommand, call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

import studio.celery  # noqa: F401  tasks are queued there, not at the queue's own default
from compute.actions import create_cluster, ensure_local
from compute.engines import embedded
from compute.states import Priority
from runs.models import Run
from studio.dashboards.actions import OVERVIEW_NAME, make_dashboard
from studio.people.actions import create_workspace
from studio.people.models import SignInLink, User, Workspace

WORKSPACE, CLUSTER, CLUSTER_NODES = "default", "cpu-cluster", 4
FIRST_USER = "admin"


class Command(BaseCommand):
    help = "Bring database and static files up to date; at first, make an administrator and a workspace."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        migrate()
        collect_static()
        self.stdout.write(json.dumps(first_steps()))


def migrate() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)


def collect_static() -> None:
    """Collect the static files unless they are as they were the last time."""
    stamp, digest = Path(settings.STATIC_ROOT) / ".stamp", hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            facts = Path(storage.path(name)).stat()
            digest.update(f"{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    call_command("collectstatic", verbosity=0, interactive=False)
    stamp.write_text(digest.hexdigest())


def first_steps() -> dict[str, Any]:
    """Make the first administrator, workspace and cluster where there are none, and say what the start should tell."""
    with transaction.atomic():
        user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if user is None:
            user = User.objects.create_superuser(FIRST_USER, password=None)
        if not Workspace.objects.exists():
            workspace = create_workspace(WORKSPACE, user)
            create_cluster(
                workspace,
                by=user,
                name=CLUSTER,
                vm_size=embedded.default_size().name,
                vm_priority=Priority.DEDICATED,
                min_nodes=0,
                max_nodes=CLUSTER_NODES,
            )
            make_dashboard(workspace, str(OVERVIEW_NAME), by=user, overview=True)
        for workspace in Workspace.objects.all():
            ensure_local(workspace)
    never_signed_in = user.last_login is None
    return {
        "user": user.username,
        "link": reverse("sign_in_by_link", args=[SignInLink.issue(user)]) if never_signed_in else "",
        "runs": Run.objects.active().count(),
        "sample": not Run.objects.exists() and sample_target() is not None,
    }


def sample_target() -> Any:
    """Return the cluster that the sample run is for, if it is there."""
    from compute.models import ComputeTarget

    return ComputeTarget.objects.existing().filter(workspace__name=WORKSPACE, name=CLUSTER).first()
