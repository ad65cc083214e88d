"""The logs of runs: which there are, and their bytes. To follow one, open its websocket."""

from typing import Any

from django.http.response import HttpResponseBase
from ninja import Field, Router, Schema

from compute import logs
from runs.detail_views import run_of
from runs.log_views import download_log
from runs.streams import stream_of, streams_of
from studio.api.kit import Listed
from studio.http import StudioRequest

router = Router()
BYTES = {"content": {"text/plain": {"schema": {"type": "string"}}}}
RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "“bytes=1000-1999”, “bytes=1000-”, or “bytes=-1000” for the last ones.",
}
READ = {
    "parameters": [RANGE],
    "responses": {
        200: BYTES | {"description": "The whole log, as long as it is now."},
        206: BYTES | {"description": "The bytes that were asked for."},
        416: {"description": "The log does not reach that far.", "$ref": "#/components/responses/416"},
    },
}


class Log(Schema):
    stream: str = Field(description="<attempt>/<name>")
    attempt: int
    size: int = Field(description="Bytes, now.")
    ended: bool = Field(description="Nothing more will be written.")


@router.get("/{run_id}/logs", response=Listed[Log])
def list_logs(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """The logs of a run, the newest attempt first; those that are expected are there before their first byte."""
    run, rows = run_of(request, run_id), []
    for group in streams_of(run):
        for stream in group.streams:
            found = stream_of(run, stream)
            if found is not None:
                size = logs.size(found.key) if found.key else 0
                rows.append({"stream": stream, "attempt": group.attempt, "size": size, "ended": found.ended})
    return {"items": rows, "next": None}


@router.get("/{run_id}/logs/{path:stream}", openapi_extra=READ)
def read_log(request: StudioRequest, run_id: str, stream: str) -> HttpResponseBase:
    """The bytes of a log, all or a range of them."""
    answer: HttpResponseBase = download_log(request, run_id=run_id, stream=stream)
    return answer
