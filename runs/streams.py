"""Which logs a run has, by what name a page asks for them, and under what key their bytes lie.

A page names a stream "<attempt>/<name>": "1/std_log.txt", "2/std_log_process_3.txt", "1/studio.txt",
"1/environment.txt". The last is the build log of the attempt's environment, which many runs may share.
"""

import re
from dataclasses import dataclass

from compute import logs
from compute.models import EnvironmentState, Job
from compute.states import JobState
from runs.models import Attempt, Run

ENVIRONMENT = "environment.txt"
STUDIO = "studio.txt"
_STREAM = re.compile(r"\A([1-9][0-9]{0,5})/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})\Z")


@dataclass(frozen=True)
class LogStream:
    """One log of a run as it stands now."""

    stream: str  # what the page calls it
    key: str  # where its bytes lie; empty: there will never be any
    ended: bool  # nothing more will be written


@dataclass(frozen=True)
class StreamGroup:
    """The logs of one attempt, in the order in which people want them."""

    attempt: int
    streams: list[str]  # "1/std_log.txt", …


def log_socket(run: Run) -> str:
    """Return the path of the websocket that brings the logs of `run`, see `runs.consumers`."""
    return f"/ws/w/{run.workspace.name}/runs/{run.run_id}/log/"


def stream_of(run: Run, stream: str) -> LogStream | None:
    """Return the log of `run` that a page calls `stream`, or None when the run can have none of that name."""
    match = _STREAM.match(stream)
    if match is None:
        return None
    number, name = int(match[1]), match[2]
    attempt = run.attempts.select_related("job__environment").filter(number=number).first()
    if attempt is None:
        # The page may wait for the first line of an attempt that has not begun.
        return LogStream(stream, _key(run, number, name), run.has_ended) if number == 1 else None
    ended = attempt.job.state == JobState.ENDED
    if name != ENVIRONMENT:
        return LogStream(stream, _key(run, number, name), ended)
    environment = attempt.job.environment
    if environment is None:
        return LogStream(stream, "", ended)
    return LogStream(stream, environment.log_key, ended or environment.state != EnvironmentState.BUILDING)


def streams_of(run: Run) -> list[StreamGroup]:
    """Return what the log's picker offers, the newest attempt first; expected logs are there before their files."""
    attempts = list(run.attempts.select_related("job__environment").order_by("-number"))
    if not attempts:
        return [StreamGroup(1, [f"1/{name}" for name in [*_output_names(run.config.get("node_count", 1)), STUDIO]])]
    return [StreamGroup(a.number, [f"{a.number}/{name}" for name in _names(run, a)]) for a in attempts]


def _names(run: Run, attempt: Attempt) -> list[str]:
    expected = _output_names(attempt.job.node_count)
    if attempt.job.environment is not None:  # where it could not be built, nothing else was written
        expected.insert(0 if _never_ran(attempt.job) else len(expected), ENVIRONMENT)
    expected.append(STUDIO)
    found = [stream.name for stream in logs.streams(f"runs/{run.run_id}/{attempt.number}")]
    return expected + [name for name in found if name not in expected and "/" not in name]


def _output_names(node_count: int) -> list[str]:
    # Source: azureml-logs on the provider; one rank writes std_log.txt, several std_log_process_<rank>.txt
    return ["std_log.txt"] if node_count <= 1 else [f"std_log_process_{rank}.txt" for rank in range(node_count)]


def _never_ran(job: Job) -> bool:
    environment = job.environment
    return job.started_at is None and environment is not None and environment.state == EnvironmentState.FAILED


def _key(run: Run, attempt: int, name: str) -> str:
    return f"runs/{run.run_id}/{attempt}/{name}"
