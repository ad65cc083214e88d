"""An Azure Batch account: a run is a job of one task, on a pool that stands or on one that lives as long as the job."""

import contextlib
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from compute import arm, azure, launch
from compute.drivers import batch_outputs, batch_start
from compute.drivers.azure_account import AzureAccount, Question
from compute.drivers.base import Check, CheckState, Executes, Handle, JobReport, Need, Phase
from compute.drivers.batch_form import MADE, BatchForm, BatchRunForm
from compute.models import Job
from compute.states import EndReason
from studio.errors import CannotEverRun, NotAllowedNow

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.batch.models import BatchPool, BatchTask
    from azure.storage.blob import ContainerClient

CONTAINER = "compute-studio"  # of the account's storage
STORAGE_VERSION = "2023-05-01"  # of Microsoft.Storage
ASK_AGAIN = 5.0  # seconds
PIECE = 4 * 1024 * 1024  # bytes of a log at a time
TASK = "run"
# Ubuntu 22.04, whose images have Python 3. Source: Batch's list of supported images.
IMAGE = {"publisher": "canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts", "version": "latest"}
NODE_AGENT = "batch.node.ubuntu 22.04"


class BatchDriver(AzureAccount, Executes):
    label = gettext_lazy("Azure Batch")
    form = BatchForm
    run_form = BatchRunForm
    environments = frozenset({"interpreter", "pip"})
    version = "2024-07-01"
    actions = ("Microsoft.Batch/batchAccounts/jobs/write", "Microsoft.Batch/batchAccounts/write")
    titles = AzureAccount.titles | {
        "pools": gettext_lazy("Pools there"),
        "storage": gettext_lazy("The account’s storage"),
        "quota": gettext_lazy("What a new pool may have"),
    }
    optional: ClassVar[frozenset[str]] = frozenset({"quota"})
    needs = (
        Need(
            gettext_lazy("Resource group and account"),
            gettext_lazy("In the Azure portal, on the overview of the Batch account."),
            "az batch account list --query '[].{group:resourceGroup,name:name}'",
        ),
        Need(
            gettext_lazy("Storage of its own"),
            gettext_lazy("The account has a linked storage account, by which files go there and outputs come back."),
            "az batch account show -g GROUP -n NAME --query autoStorage",
        ),
        Need(
            gettext_lazy("An identity that may use both"),
            gettext_lazy("Contributor on the Batch account, Storage Blob Data Contributor on its storage."),
            "az role assignment list --assignee CLIENT_ID --all -o table",
        ),
    )

    @property
    def endpoint(self) -> str:
        return f"https://{self.properties.get('accountEndpoint', '')}"

    # ----- the doctor

    def questions(self) -> dict[str, Question]:
        own: dict[str, Question] = {"pools": self._pools, "storage": self._storage, "quota": self._quota}
        return super().questions() | own

    def _pools(self) -> Check:
        with self._service() as service:
            some = [pool for _n, pool in zip(range(20), service.list_pools(), strict=False)]
        named = ", ".join(_told(pool) for pool in some[:8])[:500]
        if some and all(map(_has_windows, some)):
            remedy = _("Runs need a pool of Linux nodes. They can make their own, or somebody makes one.")
            return self.found("pools", CheckState.WARN, named, remedy)
        return self.found("pools", CheckState.OK, named or _("none; runs can make their own"))

    def _storage(self) -> Check:
        with self._blobs() as blobs:
            evidence = f"{blobs.account_name}/{blobs.container_name}"
        return self.found("storage", CheckState.OK, evidence)

    def _quota(self) -> Check:
        dedicated = int(self.properties.get("dedicatedCoreQuota") or 0)
        spot = int(self.properties.get("lowPriorityCoreQuota") or 0)
        jobs = int(self.properties.get("activeJobAndJobScheduleQuota") or 0)
        said = _("%(dedicated)d dedicated cores, %(spot)d Spot cores, %(jobs)d active jobs") % {
            "dedicated": dedicated,
            "spot": spot,
            "jobs": jobs,
        }
        if dedicated or spot:
            return self.found("quota", CheckState.OK, said)
        remedy = _("Runs need a pool that is there, or ask Azure for more cores.")
        return self.found("quota", CheckState.WARN, said, remedy)

    # ----- a job

    def submit(self, job: Job) -> Handle:
        from azure.batch import models

        asked, environment, name = job.spec["options"], job.spec["environment"], _name(job)
        requirements = environment["text"] if environment.get("kind") == "pip" else ""
        with self._blobs() as blobs, self._service() as service:
            if asked["pool"] != MADE and _has_windows(service.get_pool(asked["pool_id"])):
                raise CannotEverRun(
                    _("Pool %(pool)s has Windows nodes, where runs of the studio cannot go.")
                    % {"pool": asked["pool_id"]},
                    _("Name a pool of Linux nodes with Python 3, or let the run make its own."),
                )
            files = self._send(blobs, job)
            order = {
                "files": files,
                "script": job.spec["script"],
                "arguments": job.spec["arguments"],
                "python": environment.get("interpreter") or "",
                "requirements": requirements,
                "variables": {key: str(value) for key, value in launch.variables_of(job).items()},
            }
            blobs.upload_blob(f"runs/{name}/start.py", Path(batch_start.__file__).read_bytes(), overwrite=True)
            blobs.upload_blob(f"runs/{name}/order.json", json.dumps(order).encode(), overwrite=True)
            wall = timedelta(seconds=job.max_seconds) if job.max_seconds else None
            with _unless("JobExists"):  # twice is one job
                pool = _pool(asked, needs_venv=bool(requirements))
                service.create_job(
                    models.BatchJobCreateOptions(id=name, display_name=job.run_name[:256], pool_info=pool)
                )
            with _unless("TaskExists"):
                service.create_task(
                    name,
                    models.BatchTaskCreateOptions(
                        id=TASK,
                        command_line=f"/bin/sh -c 'exec python3 runs/{name}/start.py 2>&1'",
                        resource_files=[
                            models.ResourceFile(auto_storage_container_name=CONTAINER, blob_prefix=prefix)
                            for prefix in (files, f"runs/{name}/start.py", f"runs/{name}/order.json")
                        ],
                        output_files=batch_outputs.uploads(self._address_for(blobs), f"runs/{name}/back"),
                        constraints=models.BatchTaskConstraints(max_wall_clock_time=wall, max_task_retry_count=0),
                    ),
                )
            # From now on: a job that is set to end with its tasks before it has one ends at once.
            ends = models.BatchJobUpdateOptions(all_tasks_complete_mode=models.BatchAllTasksCompleteMode.TERMINATE_JOB)
            service.update_job(name, ends)
        launch.say(job, f"Batch has it as job {name}")
        return {
            "job": name,
            "far": f"{job.run_id}/{job.attempt}",
            "positive_fails": bool(asked.get("positive_fails", True)),
            "deletes_job": bool(asked.get("deletes_job", True)),
            "makes_environment": bool(requirements),
        }

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        name, at = handle["job"], after
        with self._service() as service:
            task = service.get_task(name, TASK)
            facts = {"page": self._page(), "run": name, "state": _state(task)}
            if _state(task) not in {"running", "completed"}:
                waits = self._waits(service, name)
                yield JobReport(Phase.QUEUED, waits=waits, facts=facts, ask_again_in=ASK_AGAIN)
                return
            began = task.execution_info.start_time if task.execution_info else None
            going = JobReport(Phase.RUNNING, facts=facts, ask_again_in=ASK_AGAIN, started_at=began)
            for piece in _log(service, name, at):
                at += len(piece)
                yield replace(going, output=piece)
            into = Path(settings.JOB_DIR) / handle["far"] / "rank-0"
            if _state(task) == "running":
                if batch_outputs.is_late(task) and batch_outputs.is_due(into):
                    with self._swept():
                        batch_outputs.fetch(service, name, TASK, into)
                yield going
                return
            with self._blobs() as blobs:
                batch_outputs.bring_back(blobs, f"runs/{name}/back/", into)
                if batch_outputs.is_late(task):
                    with self._swept():  # its node may be gone by now
                        batch_outputs.fetch(service, name, TASK, into)
                with self._swept():
                    for blob in blobs.list_blob_names(name_starts_with=f"runs/{name}/"):
                        blobs.delete_blob(blob)
            with self._swept():
                if handle["deletes_job"]:
                    service.begin_delete_job(name)
        over = task.execution_info.end_time if task.execution_info else None
        yield replace(_ended(task, handle, facts), started_at=began, ended_at=over)

    def queues(self, job: Job) -> bool:
        return True

    def cancel(self, handle: Handle, because: EndReason) -> None:
        gone = ("JobNotFound", "TaskNotFound", "TaskCompleted", "JobCompleted", "JobTerminating", "JobBeingDeleted")
        with self._service() as service, _unless(*gone):
            service.terminate_task(handle["job"], TASK)

    @contextlib.contextmanager
    def _swept(self) -> Iterator[None]:
        """Let what is left over of a run that has ended be left over, where it cannot be taken away."""
        from azure.core.exceptions import AzureError

        with contextlib.suppress(AzureError):
            yield

    def _page(self) -> str:
        """Return the account's page in the portal, which knows the public cloud's accounts."""
        public = azure.endpoints_for(self.target.workspace).resource_manager == azure.PUBLIC_RESOURCE_MANAGER
        return f"https://portal.azure.com/#resource{self.path}" if public else ""

    def _waits(self, service: "BatchClient", name: str) -> str:
        """Return what a task waits for that has no node."""
        info = service.get_job(name).execution_info
        if info is None or not info.pool_id:
            return gettext_noop("Waits for Batch to make its pool.")
        pool = service.get_pool(info.pool_id)
        if errors := "; ".join(f"{error.code}: {error.message}" for error in pool.resize_errors or []):
            return gettext_noop("Pool %(pool)s gets no node: %(why)s") % {"pool": info.pool_id, "why": errors[:300]}
        nodes = (pool.current_dedicated_nodes or 0) + (pool.current_low_priority_nodes or 0)
        wanted = (pool.target_dedicated_nodes or 0) + (pool.target_low_priority_nodes or 0)
        said = {"pool": info.pool_id, "n": nodes, "wanted": wanted}
        if str(getattr(pool.allocation_state, "value", pool.allocation_state)) == "resizing":
            return gettext_noop("Waits for pool %(pool)s, which grows from %(n)d to %(wanted)d nodes.") % said
        if not nodes:
            return gettext_noop("Waits for pool %(pool)s, which has no node.") % said
        return gettext_noop("Waits for a node of pool %(pool)s; its number of nodes is %(n)d.") % said

    def _send(self, blobs: "ContainerClient", job: Job) -> str:
        """Bring the job's files there as one archive, unless the same ones are there; return its name."""
        top = job.folder / "rank-0"
        files = list(launch.files_of(top))
        digest = hashlib.sha256(json.dumps([[path, sha, mode] for path, sha, mode, _file in files]).encode())
        archive = f"snapshots/{digest.hexdigest()[:32]}.tar.gz"
        if blobs.get_blob_client(archive).exists():
            launch.say(job, f"The {len(files)} files are there")
            return archive
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
                for path, _sha, _mode, file in files:
                    tar.add(file, path, recursive=False)
            size = packed.tell()
            packed.seek(0)
            blobs.upload_blob(archive, packed, length=size, overwrite=True)
        launch.say(job, f"{len(files)} files sent to {blobs.account_name}, {size:,} bytes")
        return archive

    def _address_for(self, blobs: "ContainerClient") -> str:
        """Return the container's address, with leave to add to it and to read nothing."""
        from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

        now = datetime.now(UTC)
        root = blobs.url.rsplit("/", 1)[0]
        with BlobServiceClient(
            root, azure.credential_for(self.target.workspace), **azure.limits_for(self.target.workspace)
        ) as storage:
            key = storage.get_user_delegation_key(now - timedelta(minutes=5), now + batch_outputs.LEAVE_LASTS)
        leave = generate_container_sas(
            str(blobs.account_name),
            CONTAINER,
            user_delegation_key=key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=now + batch_outputs.LEAVE_LASTS,
            protocol="https",
        )
        return f"{blobs.url}?{leave}"

    # ----- the connection

    @contextlib.contextmanager
    def _service(self) -> "Iterator[BatchClient]":
        """Give the account's client; what it raises leaves here as a StudioError."""
        from azure.batch import BatchClient

        with azure.speaking(self.config["account_name"]):
            azure.places(self.target.workspace, self.endpoint)
            with BatchClient(
                self.endpoint,
                azure.credential_for(self.target.workspace),
                **azure.limits_for(self.target.workspace),
            ) as client:
                yield client

    @contextlib.contextmanager
    def _blobs(self) -> "Iterator[ContainerClient]":
        """Give the studio's container in the account's storage, made when it is not there. Raises StudioError."""
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import ContainerClient

        linked = (self.properties.get("autoStorage") or {}).get("storageAccountId")
        if not linked:
            raise NotAllowedNow(
                _("%(name)s has no storage of its own.") % {"name": self.config["account_name"]},
                _("Link one: az batch account set -g GROUP -n NAME --storage-account STORAGE."),
            )
        told = arm.get(self.target.workspace, str(linked), STORAGE_VERSION)
        root = str(((told.get("properties") or {}).get("primaryEndpoints") or {}).get("blob") or "")
        with azure.speaking(str(told.get("name") or _("Its storage"))):
            azure.places(self.target.workspace, root)
            with ContainerClient(
                root, CONTAINER, azure.credential_for(self.target.workspace), **azure.limits_for(self.target.workspace)
            ) as client:
                with contextlib.suppress(ResourceExistsError):
                    client.create_container()
                yield client


@contextlib.contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """Take an error of Batch with one of these codes for what was wanted anyway."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as exc:
        if getattr(getattr(exc, "model", None), "code", None) not in codes:
            raise


def _name(job: Job) -> str:
    """Return the id of its job in Batch: at most 64 letters, digits, "-" and "_", another for every attempt."""
    whole = f"{job.run_id}.{job.attempt}"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in whole)[:46]
    return f"{plain}-{hashlib.sha256(f'{job.pk}.{whole}'.encode()).hexdigest()[:12]}"


def _has_windows(pool: "BatchPool") -> bool:
    """Say whether a pool's nodes run Windows. Source: Batch's node agents, "batch.node.windows amd64" and others."""
    machine = pool.virtual_machine_configuration
    return machine is not None and "windows" in (machine.node_agent_sku_id or "").lower()


def _told(pool: "BatchPool") -> str:
    """Return a pool in a few words."""
    nodes = f"{pool.vm_size}, {pool.current_dedicated_nodes or 0}"
    return f"{pool.id} ({nodes}, " + _("Windows: no runs") + ")" if _has_windows(pool) else f"{pool.id} ({nodes})"


def _pool(asked: dict[str, Any], *, needs_venv: bool) -> Any:
    from azure.batch import models

    if asked["pool"] != MADE:
        return models.BatchPoolInfo(pool_id=asked["pool_id"])
    spot = bool(asked.get("low_priority"))
    return models.BatchPoolInfo(
        auto_pool_specification=models.BatchAutoPoolSpecification(
            auto_pool_id_prefix="studio",
            pool_lifetime_option=models.BatchPoolLifetimeOption.JOB,
            keep_alive=False,
            pool=models.BatchPoolSpecification(
                vm_size=asked["vm_size"],
                target_dedicated_nodes=0 if spot else 1,
                target_low_priority_nodes=1 if spot else 0,
                start_task=_venv() if needs_venv else None,
                virtual_machine_configuration=models.VirtualMachineConfiguration(
                    image_reference=models.BatchVmImageReference(**IMAGE), node_agent_sku_id=NODE_AGENT
                ),
            ),
        )
    )


def _venv() -> Any:
    """Return what a node does first whose image, as Ubuntu's, brings Python without its venv."""
    from azure.batch import models

    return models.BatchStartTask(
        command_line="/bin/sh -c 'apt-get -qq update && apt-get -qq --yes install python3-venv'",
        user_identity=models.UserIdentity(
            auto_user=models.AutoUserSpecification(
                scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN
            )
        ),
        max_task_retry_count=2,
        wait_for_success=True,
    )


def _log(service: "BatchClient", name: str, at: int) -> Iterator[bytes]:
    """Yield what the task has printed from byte `at` on; nothing while it has no node."""
    from azure.core.exceptions import HttpResponseError

    try:
        size = service.get_task_file_properties(name, TASK, "stdout.txt").content_length
    except HttpResponseError as exc:
        if exc.status_code in {404, 409}:  # no node yet, or no node any more
            return
        raise
    while at < size:
        wanted = f"bytes={at}-{min(at + PIECE, size) - 1}"
        piece = b"".join(service.download_task_file(name, TASK, "stdout.txt", ocp_range=wanted))[: size - at]
        if not piece:
            return
        at += len(piece)
        yield piece


def _state(task: "BatchTask") -> str:
    state = task.state
    return str(getattr(state, "value", state) or "active")


def _ended(task: "BatchTask", handle: Handle, facts: dict[str, Any]) -> JobReport:
    """Return the report that a task's end makes."""
    info = task.execution_info
    code = info.exit_code if info else None
    failure = info.failure_info if info else None
    said = f"{failure.message or failure.code or ''}"[:500] if failure else ""
    ended_by = (failure.code or "") if failure else ""
    if "WallClock" in ended_by:
        return JobReport(Phase.ENDED, reason=EndReason.DURATION, detail=said, facts=facts)
    if ended_by in {"TaskEnded", "JobTerminated", "JobTerminating"}:
        detail = said or gettext_noop("It was ended in Batch.")
        return JobReport(Phase.ENDED, reason=EndReason.CANCELED, detail=detail, facts=facts)
    if code is None:
        detail = said or gettext_noop("Batch did not run it, and does not say why.")
        return JobReport(Phase.ENDED, reason=EndReason.NOT_STARTED, detail=detail, facts=facts)
    if code == batch_start.NO_ENVIRONMENT and handle.get("makes_environment"):
        detail = gettext_noop("the last lines of its log say why")
        return JobReport(Phase.ENDED, exit_code=code, reason=EndReason.ENVIRONMENT, detail=detail, facts=facts)
    if code > 0 and not handle["positive_fails"]:
        return JobReport(Phase.ENDED, exit_code=0, detail=f"exit code {code}", facts=facts | {"exit_code": str(code)})
    return JobReport(Phase.ENDED, exit_code=code, detail="", facts=facts)
