"""A Data Lake Analytics account on loopback: its job interface as documented. It compiles nothing: a script that has
"ERROR" in it fails as one that is wrong does.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from tests.azure import Reply, Service, refused, told

UNITS = 50  # that one job may have
MOMENT = "2026-11-24T10:00:0{}Z"


class Lake(Service):
    """Jobs by their ids; `go_on` takes each of them one state further."""

    STATES = ("New", "Compiling", "Queued", "Running", "Ended")
    STAMPS: ClassVar = {"Running": "startTime", "Ended": "endTime"}

    def __init__(self, pem: Path) -> None:
        super().__init__(pem)
        self.jobs: dict[str, dict[str, Any]] = {}

    def go_on(self, to: str = "Ended") -> None:
        for job in self.jobs.values():
            while job["state"] not in (to, "Ended"):
                self._enter(job, self.STATES[self.STATES.index(job["state"]) + 1])

    def _enter(self, job: dict[str, Any], state: str, result: str = "") -> None:
        job["state"] = state
        stamp = MOMENT.format(len(job["stateAuditRecords"]))
        job["stateAuditRecords"].append({"newState": state, "timeStamp": stamp})
        if state in self.STAMPS:
            job[self.STAMPS[state]] = datetime.now(UTC).isoformat()
        if state != "Ended":
            return
        wrong = "ERROR" in job["properties"]["script"]
        job["result"] = result or ("Failed" if wrong else "Succeeded")
        if wrong and not result:
            job["errorMessage"] = [
                {
                    "errorId": "E_CSC_USER_SYNTAXERROR",
                    "message": "syntax error.\nExpected one of: ASSEMBLY",
                    "lineNumber": 3,
                    "resolution": "Correct the script syntax.",
                }
            ]

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        if query.get("api-version") != "2016-11-01":
            return refused(400, "InvalidApiVersionParameter", "The api-version is not supported.")
        match method, *path.strip("/").split("/"):
            case "GET", "Jobs":
                return told({"value": list(self.jobs.values())[: int(query.get("$top", 100))]})
            case "POST", "BuildJob":
                return told(json.loads(body) | {"state": "Ended", "result": "Succeeded"})
            case "PUT", "Jobs", number:
                return self._made(number, json.loads(body))
            case "GET", "Jobs", number if number in self.jobs:
                return told(self.jobs[number])
            case "POST", "Jobs", number, "CancelJob" if number in self.jobs:
                if self.jobs[number]["state"] == "Ended":
                    return refused(409, "JobAlreadyCompleted", "The job has ended.")
                self._enter(self.jobs[number], "Ended", "Cancelled")
                return 200, {}, b""
        return refused(404, "JobNotFound", "The job was not found.")

    def _made(self, number: str, asked: dict[str, Any]) -> Reply:
        if number in self.jobs:
            return refused(409, "JobExists", "The job is there.")
        if asked["degreeOfParallelism"] > UNITS:
            words = f"The degree of parallelism exceeds the account's limit of {UNITS}."
            return refused(400, "DegreeOfParallelismInvalid", words)
        self.jobs[number] = {"jobId": number, **asked, "state": "New", "result": "None", "stateAuditRecords": []}
        self._enter(self.jobs[number], "New")
        return told(self.jobs[number])
