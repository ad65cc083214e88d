"""How one rank of a job is started on this machine: its folder, its command, its surroundings."""

import hashlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils import timezone

from compute import isolation, log_index, logs
from compute.builds import interpreter_of
from compute.drivers.base import Handle, JobSpec
from compute.models import Job, Node
from compute.processes import ProcessSpec, start

TASKS_A_PROCESS = 8  # threads and processes that the kernel lets a run have for each process it may have
COLLECTED = ("outputs", "logs")  # the folders that are kept and shown. Source: azure-ml facts D5


def prepare(job: Job, fill: Callable[[Path], None]) -> None:
    """Make a working directory a rank, filled by `fill`; all ranks share the first one's outputs and logs.

    Safe to repeat: a directory that stands is left alone.
    """
    for rank in range(job.node_count):
        folder = job.folder / f"rank-{rank}"
        if folder.exists():
            continue
        scratch = job.folder / f".rank-{rank}.{os.getpid()}"
        fill(scratch)
        for name in COLLECTED:
            kept = scratch / name
            if rank == 0:
                kept.mkdir(parents=True, exist_ok=True)
            elif not kept.exists():
                kept.symlink_to(Path("..") / "rank-0" / name, target_is_directory=True)
        isolation.give(scratch, isolation.user_of(job))
        scratch.rename(folder)


def log_key(job: Job, rank: int = 0) -> str:
    """Return the log store's key of what a rank prints."""
    name = "std_log.txt" if job.node_count == 1 else f"std_log_process_{rank}.txt"
    return f"runs/{job.run_id}/{job.attempt}/{name}"


def say(job: Job, text: str) -> None:
    """Add a line to the attempt's own log of what the studio did for it."""
    key = f"runs/{job.run_id}/{job.attempt}/studio.txt"
    stamp = timezone.now().strftime("%Y-%m-%d %H:%M:%S")
    logs.add(key, f"{stamp} {text}\n".encode())


def launch(job: Job, nodes: Sequence[Node | None]) -> Handle:
    """Start one detached process a rank, each on its node (None: anywhere on this machine).

    Starting the same job twice starts its processes once. Returns {"ranks": [process handle, …]}.
    """
    spec: JobSpec = job.spec
    python = interpreter_of(job.environment) if job.environment else Path(spec["interpreter"])
    command = [str(python), spec["script"], *spec["arguments"]]
    port = job.handle.get("port") or _free_port()
    user = isolation.user_of(job)
    for name in ("home", "tmp"):
        (job.folder / name).mkdir(parents=True, exist_ok=True)
        isolation.give(job.folder / name, user)
    folders = [str(job.folder / f"rank-{rank}") for rank in range(job.node_count)]
    for folder in folders:  # theirs already, unless an older studio made them
        isolation.give(Path(folder), user)
    confinement = isolation.of_job(job, python, gpus=any(node and node.gpus for node in nodes))
    say(job, f"$ {shlex.join([python.name, *command[1:]])}")
    return {
        "port": port,
        "ranks": [
            start(
                ProcessSpec(
                    argv=command,
                    cwd=job.folder / f"rank-{rank}",
                    env=_surroundings(job, spec, rank, node, python, port),
                    log=logs.path(log_key(job, rank)),
                    marks=log_index.marks_path(log_key(job, rank)),
                    folder=job.folder / f"control-{rank}",
                    tag=f"{job.run_id}.{job.attempt}",
                    cpus=list(node.cpus) if node else [],
                    memory_bytes=node.memory_bytes if node else None,
                    max_seconds=job.max_seconds,
                    grace_seconds=settings.GRACE_SECONDS,
                    confinement=confinement,
                    most_processes=settings.RUN_PROCESSES,
                    most_tasks=TASKS_A_PROCESS * settings.RUN_PROCESSES * job.node_count if user else None,
                    disk_bytes=settings.RUN_DISK_BYTES if rank == 0 else None,
                    disk=[*folders, str(job.folder / "home"), str(job.folder / "tmp")],
                    log_bytes=settings.LOG_BYTES,
                    mend=[] if user else [f"{folders[rank]}/{name}" for name in ("", *COLLECTED)],
                )
            )
            for rank, node in enumerate(nodes)
        ],
    }


def _surroundings(job: Job, spec: JobSpec, rank: int, node: Node | None, python: Path, port: int) -> dict[str, str]:
    """Return all the variables a rank sees: nothing of the studio's own environment is passed on."""
    home, scratch = job.folder / "home", job.folder / "tmp"
    variables: dict[str, Any] = known_to_a_run(job, rank) | {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    if node:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(node.gpus)
        variables["OMP_NUM_THREADS"] = node.virtual_cpus
        variables["AZUREML_NODE_ID"] = node.node_id
    if isolation.user_of(job) is not None:
        variables["USER"] = variables["LOGNAME"] = "run"  # its number has no name, and many a library asks for one
    if job.environment:
        variables["VIRTUAL_ENV"] = python.parent.parent
    return {name: str(value) for name, value in (spec["variables"] | variables).items()}


def variables_of(job: Job) -> dict[str, Any]:
    """Return the variables of a job that one process elsewhere runs: what was asked for, the studio's own over it."""
    return dict(job.spec["variables"]) | known_to_a_run(job)


def known_to_a_run(job: Job, rank: int = 0) -> dict[str, Any]:
    """Return the variables that every run sees, whatever machine it runs on. Source: azure-ml facts D8."""
    workspace = job.target.workspace
    lifetime = timedelta(seconds=job.max_seconds or 30 * 86400)
    return {
        "PYTHONUNBUFFERED": "1",  # or a line waits in a buffer instead of being seen
        "RANK": rank,
        "NODE_RANK": rank,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": job.node_count,
        "AZUREML_RUN_ID": job.run_id,
        "AZUREML_RUN_TOKEN": signing.dumps({"run": job.run_id, "attempt": job.attempt}, salt="run token"),
        "AZUREML_RUN_TOKEN_EXPIRY": int((timezone.now() + lifetime).timestamp()),
        "AZUREML_ARM_SUBSCRIPTION": workspace.guid,
        "AZUREML_ARM_RESOURCEGROUP": "studio",
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_PROJECT_NAME": job.spec["experiment"],
        "AZUREML_SERVICE_ENDPOINT": settings.PUBLIC_URL,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": settings.PUBLIC_URL,
        "DEFAULT_IDENTITY_CLIENT_ID": "",  # Source: facts I; empty means the system's identity, or none
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def files_of(top: Path) -> Iterator[tuple[str, str, int, Path]]:
    """Yield what has to be elsewhere for a job: path, SHA-256, mode, and where it lies here. Links are left out."""
    for file in sorted(top.rglob("*")):
        path = file.relative_to(top).as_posix()
        if file.is_symlink() or not file.is_file():
            continue
        with file.open("rb") as source:
            yield path, hashlib.file_digest(source, "sha256").hexdigest(), file.stat().st_mode & 0o777, file
