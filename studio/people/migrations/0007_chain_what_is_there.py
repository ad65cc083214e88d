"""Links the entries that are older than the chains, in the order in which they were written."""

from typing import Any

from django.db import migrations

from studio.people.chain import OF_NO_WORKSPACE, canonical, digest

BATCH = 1000


def chain_all(apps: Any, schema_editor: Any) -> None:
    entries, chains = apps.get_model("people", "Activity").objects, apps.get_model("people", "Chain")
    guids = dict(apps.get_model("people", "Workspace").objects.values_list("pk", "guid"))
    for workspace_id in list(entries.order_by().values_list("workspace_id", flat=True).distinct()):
        name = OF_NO_WORKSPACE if workspace_id is None else str(guids[workspace_id])
        chain = chains(name=name, workspace_id=workspace_id)
        batch = []
        for entry in entries.filter(workspace_id=workspace_id).order_by("pk").iterator(chunk_size=BATCH):
            chain.length += 1
            entry.seq = chain.length
            entry.hash = chain.last_hash = digest(chain.last_hash, canonical(name, entry.__dict__))
            batch.append(entry)
            if len(batch) == BATCH:
                entries.bulk_update(batch, ["seq", "hash"])
                batch = []
        entries.bulk_update(batch, ["seq", "hash"])
        chain.save()


class Migration(migrations.Migration):
    dependencies = [("people", "0006_activity_chain")]
    operations = [migrations.RunPython(chain_all, migrations.RunPython.noop)]
