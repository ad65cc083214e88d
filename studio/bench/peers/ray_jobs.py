"""Ray Jobs: a head node of this machine, jobs through its REST client, the first line through its log stream."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> None:
    port = free_port()
    start = ["ray", "start", "--head", f"--port={free_port()}", f"--dashboard-port={port}", "--include-dashboard=true"]
    start += ["--num-cpus=4", "--disable-usage-stats"]
    subprocess.run(start, stdout=subprocess.DEVNULL, check=True)
    try:
        client = JobSubmissionClient(f"http://127.0.0.1:{port}")
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            name, _space, count = line.strip().partition(" ")
            seconds = first(client) if name == "first" else many(client, int(count))
            print(json.dumps({"seconds": seconds}), flush=True)
    finally:
        subprocess.run(["ray", "stop", "--force"], stdout=subprocess.DEVNULL, check=False)


def submit(client: JobSubmissionClient, script: str) -> str:
    folder = tempfile.mkdtemp()
    Path(folder, "train.py").write_text(script)
    return str(client.submit_job(entrypoint="python -u train.py", runtime_env={"working_dir": folder}))


def first(client: JobSubmissionClient) -> float:
    async def heard() -> None:
        async for piece in client.tail_job_logs(job):
            if "the first line" in piece:
                return

    started = time.monotonic()
    job = submit(client, "print('the first line')\n")
    with contextlib.suppress(RuntimeError):
        asyncio.run(heard())
    return time.monotonic() - started


def many(client: JobSubmissionClient, count: int) -> float:
    started = time.monotonic()
    waiting = {submit(client, "print('done')\n") for _n in range(count)}
    while waiting:
        waiting = {job for job in waiting if client.get_job_status(job) not in ENDED}
        time.sleep(0.02)
    return time.monotonic() - started


main()
