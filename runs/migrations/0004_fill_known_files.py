"""Let people's next uploads know the files of the snapshots they have."""

from typing import Any

from django.db import migrations


def fill(apps: Any, schema_editor: Any) -> None:
    snapshots, known = apps.get_model("runs", "Snapshot"), apps.get_model("runs", "KnownFile")
    for workspace, manifest in snapshots.objects.values_list("workspace", "manifest").iterator(100):
        sizes = {entry["sha256"]: entry["size"] for entry in manifest}
        rows = [known(workspace_id=workspace, sha256=sha256, size=size) for sha256, size in sizes.items()]
        known.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_known_files")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
