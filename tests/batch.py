"""Azure Batch and Blob Storage on loopback: as documented, with the tasks run here, by a process each."""

import json
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from tests.azure import SUBSCRIPTION, Reply, Service, told

GROUP, ACCOUNT, STORAGE = "vision", "crunch", "crunchstore"
ACCOUNT_PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Batch/batchAccounts/{ACCOUNT}"
STORAGE_PATH = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/{STORAGE}"
)
DAY = "2026-01-01T00:00:00Z"


class Blobs(Service):
    """A storage account's blobs: container/name → bytes."""

    def __init__(self, pem: Path) -> None:
        super().__init__(pem)
        self.there: dict[str, bytes] = {}
        self.containers: set[str] = set()

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        name = path.strip("/")
        match method, query.get("restype"), query.get("comp"):
            case "POST", "service", "userdelegationkey":
                return 200, {"Content-Type": "application/xml"}, self._key()
            case "PUT", "container", _:
                if name in self.containers:
                    return self._refused(409, "ContainerAlreadyExists")
                self.containers.add(name)
                return 201, self._stamps(), b""
            case "GET", "container", "list":
                return 200, {"Content-Type": "application/xml"}, self._listed(name, query.get("prefix", ""))
            case "PUT", None, None:
                self.there[name] = body
                return 201, self._stamps(), b""
        if name not in self.there:
            return self._refused(404, "BlobNotFound")
        match method:
            case "DELETE":
                del self.there[name]
                return 202, {}, b""
            case "HEAD":
                return 200, self._stamps() | {"Content-Length": str(len(self.there[name]))}, b""
            case "GET":
                return self._read(self.there[name], headers.get("x-ms-range") or headers.get("Range") or "")
        return self._refused(400, "UnsupportedHttpVerb")

    @staticmethod
    def _stamps() -> dict[str, str]:
        return {
            "ETag": '"1"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-version": "2025-01-05",
        }

    def _read(self, data: bytes, wanted: str) -> Reply:
        first, last = 0, len(data) - 1
        if wanted:
            start, _dash, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
            if first > last:
                return self._refused(416, "InvalidRange")
        facts = self._stamps() | {"Content-Type": "application/octet-stream"}
        return 206, facts | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]

    @staticmethod
    def _refused(status: int, code: str) -> Reply:
        xml = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}.</Message></Error>'
        return status, {"Content-Type": "application/xml", "x-ms-error-code": code}, xml.encode()

    def _listed(self, container: str, prefix: str) -> bytes:
        names = [n.removeprefix(f"{container}/") for n in sorted(self.there)]
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(self.there[f'{container}/{name}'])}"
            "</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in names
            if name.startswith(prefix)
        )
        head = f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{container}">'
        return f"{head}<Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>".encode()

    @staticmethod
    def _key() -> bytes:
        return (
            '<?xml version="1.0" encoding="utf-8"?><UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid>'
            f"<SignedStart>{DAY}</SignedStart><SignedExpiry>2027-01-01T00:00:00Z</SignedExpiry>"
            "<SignedService>b</SignedService><SignedVersion>2025-01-05</SignedVersion><Value>a2V5</Value>"
            "</UserDelegationKey>"
        ).encode()


class Batch(Service):
    """The account's jobs; each has one task, which is a process in a folder of its own."""

    def __init__(self, pem: Path, folder: Path, blobs: Blobs) -> None:
        super().__init__(pem)
        self.folder, self.blobs = folder, blobs
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pools: dict[str, dict[str, Any]] = {"linux": pool("linux", 2)}
        self.made = DAY  # when each task was
        self.times = [DAY, DAY]  # when each task began and ended
        self.env: dict[str, str] = {}  # of a node
        self.shared: Path | None = None  # what the tasks of a node share
        self.brings = True  # whether a node may bring outputs to storage
        self.starts = True  # whether a task gets a node
        self.lock = threading.Lock()

    def close(self) -> None:
        for job in self.jobs.values():
            if job.get("process"):
                job["process"].kill()
                job["process"].wait()
        super().close()

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        asked = json.loads(body) if body else {}
        parts = path.strip("/").split("/")
        with self.lock:
            match method, *parts:
                case "GET", "pools":
                    return told({"value": list(self.pools.values())})
                case "GET", "pools", name:
                    return told(self.pools[name]) if name in self.pools else missing("PoolNotFound")
                case "POST", "jobs":
                    if asked["id"] in self.jobs:
                        return refused(409, "JobExists")
                    self.jobs[asked["id"]] = {"asked": asked}
                    return 201, {}, b""
            if parts[0] != "jobs" or len(parts) < 2 or parts[1] not in self.jobs:
                return missing("JobNotFound")
            return self.of_job(self.jobs[parts[1]], method, parts[2:], asked, headers, parts[1])

    def of_job(
        self, job: dict[str, Any], method: str, rest: list[str], asked: dict[str, Any], headers: Any, name: str
    ) -> Reply:
        match method, *rest:
            case ["GET"]:
                pool_id = job["asked"]["poolInfo"].get("poolId") or "studio_made"
                return told({"id": name, "state": "active", "executionInfo": {"poolId": pool_id}})
            case ["PATCH"]:
                job["ends"] = asked["onAllTasksComplete"]
                return 200, {}, b""
            case ["DELETE"]:
                job["deleted"] = True
                return 202, {}, b""
            case "POST", "tasks":
                if "task" in job:
                    return refused(409, "TaskExists")
                job["task"] = asked
                if self.starts:
                    self.start(name, job)
                return 201, {}, b""
            case "POST", "tasks", "run", "terminate":
                job["ended"] = True
                if job.get("process"):
                    job["process"].kill()
                return 204, {}, b""
            case "GET", "tasks", "run":
                return told(self.task(name, job))
            case ["GET", "tasks", "run", "files"]:
                return told({"value": [self.listed(name, file) for file in (self.folder / name).rglob("*")]})
            case (("GET" | "HEAD"), "tasks", "run", "files", *path):
                file = self.folder / name / unquote("/".join(path))
                if not file.is_file():
                    return missing("FileNotFound")
                data = file.read_bytes()
                first, last = 0, len(data)
                if wanted := headers.get("ocp-range"):
                    start, _dash, stop = wanted.removeprefix("bytes=").partition("-")
                    first, last = int(start), int(stop) + 1
                facts = {
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(len(data)),
                    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                    "ocp-creation-time": "Thu, 01 Jan 2026 00:00:00 GMT",
                    "ocp-batch-file-isdirectory": "false",
                    "ocp-batch-file-mode": "0644",
                    "ocp-batch-file-url": f"{self.url}/file",
                }
                if method == "HEAD":
                    return 200, facts, b""
                piece = data[first:last]
                return 200, facts | {"Content-Length": str(len(piece))}, piece
        return missing("OperationNotFound")

    def listed(self, name: str, file: Path) -> dict[str, Any]:
        facts = {"contentLength": str(file.stat().st_size), "lastModified": DAY, "creationTime": DAY}
        where = file.relative_to(self.folder / name).as_posix()
        return {"name": where, "url": f"{self.url}/x", "isDirectory": file.is_dir(), "properties": facts}

    def start(self, name: str, job: dict[str, Any]) -> None:
        wd = self.folder / name / "wd"
        wd.mkdir(parents=True)
        for source in job["task"]["resourceFiles"]:
            whole = f"{source['autoStorageContainerName']}/{source['blobPrefix']}"
            for blob, data in list(self.blobs.there.items()):
                if blob.startswith(whole):
                    file = wd / blob.partition("/")[2]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
        env = {"PATH": "/usr/bin:/bin", **self.env}
        if self.shared:
            self.shared.mkdir(exist_ok=True)
            env["AZ_BATCH_NODE_SHARED_DIR"] = str(self.shared)
        with (self.folder / name / "stdout.txt").open("wb") as out:
            job["process"] = subprocess.Popen(shlex.split(job["task"]["commandLine"]), cwd=wd, stdout=out, env=env)

    def task(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {"id": "run", "creationTime": self.made, "state": "active", "executionInfo": None}
        process = job.get("process")
        code = process.poll() if process else None
        if job.get("ended") and (process is None or code is not None):
            failure = {"category": "userError", "code": "TaskEnded", "message": "Task Was Ended by User Request"}
            info = {
                "endTime": self.times[1],
                "failureInfo": failure,
                "result": "failure",
                "retryCount": 0,
                "requeueCount": 0,
            }
            return facts | {"state": "completed", "executionInfo": info}
        if process is None:
            return facts
        info = {"startTime": self.times[0], "retryCount": 0, "requeueCount": 0}
        if code is None:
            return facts | {"state": "running", "executionInfo": info}
        if not job.get("brought"):
            if self.brings:
                self.bring(name, job)
            job["brought"] = True
        info |= {"exitCode": code, "endTime": self.times[1], "result": "failure" if code else "success"}
        if code:
            failure = {"category": "userError", "code": "FailureExitCode", "message": "The task exited with a failure."}
            info["failureInfo"] = failure
        return facts | {"state": "completed", "executionInfo": info}

    def bring(self, name: str, job: dict[str, Any]) -> None:
        for output in job["task"]["outputFiles"]:
            base = self.folder / name / "wd" / output["filePattern"].partition("/**")[0]
            where = output["destination"]["container"]
            container = urlsplit(where["containerUrl"]).path.strip("/")
            for file in base.rglob("*"):
                if file.is_file():
                    blob = f"{container}/{where['path']}/{file.relative_to(base).as_posix()}"
                    self.blobs.there[blob] = file.read_bytes()
        shutil.rmtree(self.folder / name / "wd")


def pool(name: str, nodes: int, *errors: dict[str, str]) -> dict[str, Any]:
    """Return a pool as the service tells of it."""
    facts: dict[str, Any] = {"id": name, "state": "active", "vmSize": "standard_d2s_v3", "resizeErrors": list(errors)}
    return facts | {"currentDedicatedNodes": nodes, "currentLowPriorityNodes": 0, "allocationState": "steady"}


def refused(status: int, code: str, message: str = "") -> Reply:
    """Return an error in Batch's form."""
    words = {"lang": "en-US", "value": f"{message or code}.\nRequestId:0000\nTime:2026"}
    return told({"code": code, "message": words}, status)


def missing(code: str) -> Reply:
    return refused(404, code)
