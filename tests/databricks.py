"""A Databricks workspace on loopback: its REST interface as documented, with the runs run here, by a process each."""

import json
import shutil
import subprocess
import sys
import threading
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "dapi-0123456789abcdef"


class Workspace:
    """The service: what it was asked, what it holds, and what it is to answer instead."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, TOKEN
        self.asked: list[str] = []  # "POST /api/…"
        self.submitted: list[dict[str, Any]] = []
        self.instead: list[tuple[int, dict[str, str], bytes]] = []  # status, headers, body; 0: hang up
        self.runs: dict[int, dict[str, Any]] = {}
        self.more: list[dict[str, str]] = []  # that every folder is said to hold
        self.state = ""  # of every run, instead of what its process says
        self.elsewhere: tuple[int, str] | None = None  # a status and where it sends whoever asks
        self.times: dict[str, int] = {}  # said of every task, in milliseconds
        self.also: dict[str, Any] = {}  # said of every run, over what its process says
        handler = type("Bound", (Handler,), {"workspace": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        for run in self.runs.values():
            run["process"].kill()
            run["process"].communicate()
        self.server.shutdown()
        self.server.server_close()

    def named(self, file: Path) -> str:
        return f"/{file.relative_to(self.folder)}"

    def place(self, path: str) -> Path:
        return self.folder / path.removeprefix("/Workspace").lstrip("/")

    def answer(self, method: str, path: str, asked: dict[str, Any]) -> Any:
        """Return what the service answers; None: there is no such thing."""
        match f"{method} {path.partition('/api/')[2].partition('/')[2]}":
            case "GET preview/scim/v2/Me":
                return {"userName": "ana@example.org"}
            case "GET jobs/runs/list":
                return {"runs": [{"run_id": 1}], "has_more": False}
            case "GET clusters/list":
                return {"clusters": [{"cluster_id": "0923-164208-meows279", "cluster_name": "shared"}]}
            case "GET clusters/list-node-types":
                return {"node_types": [{"node_type_id": "Standard_DS3_v2"}]}
            case "GET clusters/spark-versions":
                return {"versions": [{"key": "15.4.x-scala2.12"}]}
            case "POST workspace/mkdirs":
                self.place(asked["path"]).mkdir(parents=True, exist_ok=True)
                return {}
            case "GET workspace/get-status":
                there = self.place(asked["path"]).exists()
                return {"path": asked["path"], "object_type": "FILE"} if there else None
            case "POST workspace/import":
                self.place(asked["path"]).write_bytes(asked["content"])
                return {}
            case "GET workspace/list":
                top = self.place(asked["path"])
                if not top.is_dir():
                    return None
                kinds = {True: "DIRECTORY", False: "FILE"}
                found = [{"path": self.named(f), "object_type": kinds[f.is_dir()]} for f in sorted(top.iterdir())]
                return {"objects": found + self.more}
            case "GET workspace/export":
                return self.place(asked["path"]).read_bytes()
            case "POST workspace/delete":
                shutil.rmtree(self.place(asked["path"]))
                return {}
            case "POST jobs/runs/submit":
                return {"run_id": self.submit(asked)}
            case "GET jobs/runs/get":
                return self.told(int(asked["run_id"]))
            case "GET jobs/runs/get-output":
                return self.output(int(asked["run_id"]) - 1000)
            case "POST jobs/runs/cancel":
                self.runs[int(asked["run_id"])]["process"].kill()
                self.runs[int(asked["run_id"])]["canceled"] = True
                return {}
        return None

    def submit(self, asked: dict[str, Any]) -> int:
        for number, run in self.runs.items():
            if run["token"] == asked["idempotency_token"]:
                return number
        self.submitted.append(asked)
        task = asked["tasks"][0]["spark_python_task"]
        files, told, *rest = task["parameters"]
        command = [sys.executable, str(self.place(task["python_file"])), str(self.place(files)), str(self.place(told))]
        process = subprocess.Popen(
            [*command, *rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin"}
        )
        self.runs[len(self.runs) + 1] = {"process": process, "token": asked["idempotency_token"], "canceled": False}
        return len(self.runs)

    def told(self, number: int) -> dict[str, Any]:
        run = self.runs[number]
        code = run["process"].poll()
        state: dict[str, Any] = {"life_cycle_state": self.state or ("RUNNING" if code is None else "TERMINATED")}
        if state["life_cycle_state"] == "TERMINATED":
            result = "CANCELED" if run["canceled"] else "FAILED" if code else "SUCCESS"
            state |= {"result_state": result, "state_message": "Run cancelled." if run["canceled"] else ""}
        elif state["life_cycle_state"] == "INTERNAL_ERROR":
            state["state_message"] = "Cluster could not be launched: QuotaExceeded"
        page = f"https://adb-1.2.azuredatabricks.net/jobs/{number}"
        return {
            "run_id": number,
            "run_page_url": page,
            "state": state,
            "tasks": [{"run_id": 1000 + number} | self.times],
        } | self.also

    def output(self, number: int) -> dict[str, Any]:
        run = self.runs[number]
        if "said" not in run:
            run["said"] = run["process"].communicate()
        out, err = run["said"]
        last = err.strip().splitlines()[-1] if err.strip() else ""
        return {"logs": out, "logs_truncated": False} | ({"error": last, "error_trace": err} if last else {})


class Handler(BaseHTTPRequestHandler):
    workspace: Workspace
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.respond({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/"):
            self.respond(json.loads(body or b"{}"))
            return
        parts = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        named = {part.get_param("name", header="content-disposition"): part for part in parts.iter_parts()}
        self.respond({str(name): part.get_payload(decode=True) for name, part in named.items()})

    def respond(self, asked: dict[str, Any]) -> None:
        path = urlsplit(self.path).path
        self.workspace.asked.append(f"{self.command} {path}")
        if self.workspace.elsewhere:
            status, where = self.workspace.elsewhere
            self.send(status, {"Location": where}, b"")
        elif not path.startswith("/api/"):
            self.send(404, {}, b"{}")
        elif self.workspace.instead:
            status, headers, body = self.workspace.instead.pop(0)
            if status == 0:
                self.close_connection = True
                return
            self.send(status, headers, body)
        elif self.headers.get("Authorization") != f"Bearer {self.workspace.token}":
            self.send(403, {}, b'{"error_code": "403", "message": "Invalid access token."}')
        else:
            if isinstance(asked.get("path"), bytes):
                asked["path"] = asked["path"].decode()
            answer = self.workspace.answer(self.command, path, asked)
            missing = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "It does not exist."}'
            said = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send(*((404, {}, missing) if answer is None else (200, {}, said)))

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
