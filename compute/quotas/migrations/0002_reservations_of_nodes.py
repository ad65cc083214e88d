"""Give every node that stands its reservation, and the accounts their totals."""

from collections import Counter
from typing import Any

from django.db import migrations

from compute import sizes

ALL = "*"


def reserve(apps: Any, schema_editor: Any) -> None:
    nodes = apps.get_model("compute", "Node").objects.select_related("target", "job")
    reservations = apps.get_model("quotas", "Reservation").objects
    accounts = apps.get_model("quotas", "Account").objects
    totals: Counter[tuple[int | None, str, str]] = Counter()
    for node in nodes:
        size, job, target = sizes.find(node.target.vm_size), node.job, node.target
        family = size.family_key if size else target.vm_size.casefold()
        reservations.create(
            workspace_id=target.workspace_id,
            target=target,
            node=node,
            node_name=node.node_id,
            family=family,
            priority=target.vm_priority,
            cores=node.virtual_cpus,
            created_at=node.created_at,
            job=job,
            person_id=job.submitted_by_id if job else None,
            team_id=job.team_id if job else None,
        )
        for whose in (None, target.workspace_id):
            for name in (ALL, family):
                totals[whose, name, target.vm_priority] += node.virtual_cpus
    for (whose, name, priority), cores in totals.items():
        accounts.create(workspace_id=whose, family=name, priority=priority, cores=cores)


class Migration(migrations.Migration):
    dependencies = [("quotas", "0001_initial")]

    operations = [migrations.RunPython(reserve, migrations.RunPython.noop)]
