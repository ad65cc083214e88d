"""How what a task of Azure Batch leaves comes back: its node brings it to storage, as long as it has leave to.

Azure Storage gives leave for less than seven days. What a longer run leaves is fetched from its node, through Batch:
each hour once the leave is about to end, for the node of a pool of its own is gone soon after the run.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from compute import remote

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.batch.models import BatchTask
    from azure.storage.blob import ContainerClient

LEAVE_LASTS = timedelta(days=6, hours=23)  # from its submission on
LATE = LEAVE_LASTS - timedelta(hours=12)
FETCH_EVERY = 3600  # seconds
MOST_OUTPUTS = 10_000  # files that come back


def uploads(container: str, prefix: str) -> list[Any]:
    """Return where the node brings what the run leaves in its folders for it."""
    from azure.batch import models

    return [
        models.OutputFile(
            file_pattern=f"work/{name}/**/*",
            destination=models.OutputFileDestination(
                container=models.OutputFileBlobContainerDestination(container_url=container, path=f"{prefix}/{name}")
            ),
            upload_options=models.OutputFileUploadConfiguration(
                upload_condition=models.OutputFileUploadCondition.TASK_COMPLETION
            ),
        )
        for name in ("outputs", "logs")
    ]


def bring_back(blobs: "ContainerClient", prefix: str, into: Path) -> int:
    """Fetch the blobs below `prefix` into a run's folder; return how many.

    A name that leads elsewhere stays there, and so does what goes beyond a run's disk.
    """
    came, room = 0, settings.RUN_DISK_BYTES
    for _n, blob in zip(range(MOST_OUTPUTS), blobs.list_blobs(name_starts_with=prefix), strict=False):
        path = remote.safe_path(into, blob.name.removeprefix(prefix))
        room -= int(blob.size or 0)
        if path is None or room < 0:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name[:200]}.coming")
        with scratch.open("wb") as file:
            blobs.download_blob(blob.name, max_concurrency=1).readinto(file)
        scratch.replace(path)
        came += 1
    return came


def is_late(task: "BatchTask") -> bool:
    """Say whether the leave that a task was given to bring its outputs has ended, or may before the task does."""
    made = task.creation_time
    ended = task.execution_info.end_time if task.execution_info else None
    return made is not None and (ended or datetime.now(UTC)) - made > LATE


def is_due(into: Path) -> bool:
    """Say whether a run's files are to be fetched again, and note that they are."""
    mark = into.with_name(".fetched")
    if mark.exists() and time.time() - mark.stat().st_mtime < FETCH_EVERY:
        return False
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return True


def fetch(service: "BatchClient", job: str, task: str, into: Path) -> int:
    """Fetch what a task's node has in the run's folders and is not here as it is there; return how many files."""
    came, room = 0, settings.RUN_DISK_BYTES
    for _n, one in zip(range(MOST_OUTPUTS), service.list_task_files(job, task, recursive=True), strict=False):
        path, facts = remote.safe_path(into, str(one.name or "").removeprefix("wd/work/")), one.properties
        if path is None or one.is_directory or facts is None:
            continue
        size, changed = int(facts.content_length), facts.last_modified.timestamp()
        room -= size
        if room < 0 or remote.is_here(path, size, changed):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name[:200]}.coming")
        with scratch.open("wb") as file:
            left = size
            for piece in service.download_task_file(job, task, str(one.name)):
                left -= file.write(piece[:left])
                if left <= 0:
                    break
        remote.dated(scratch, changed)
        scratch.replace(path)
        came += 1
    return came
