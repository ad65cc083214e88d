"""What runs wrote, and what they were made of: listed, and sent file by file or as one zip."""

from datetime import UTC, datetime
from typing import Any

from django.http.response import HttpResponseBase
from ninja import Field, Query, Router, Schema

from runs import detail_views, outputs
from runs.detail_views import run_of
from studio.api.kit import Asked, Listed
from studio.http import StudioRequest

router = Router()
FILE: dict[str, Any] = {
    "responses": {
        200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    }
}
ZIP: dict[str, Any] = {
    "responses": {200: {"description": "One zip.", "content": {"application/zip": {"schema": {"type": "string"}}}}}
}


class Output(Schema):
    path: str = Field(description="It begins with outputs/ or logs/.")
    attempt: int
    size: int
    modified_at: datetime


class SnapshotFile(Schema):
    path: str
    size: int
    sha256: str


class OfAttempt(Asked):
    attempt: int | None = Field(None, ge=1, le=999_999, description="What this attempt wrote alone.")


@router.get("/{run_id}/outputs", response=Listed[Output])
def list_outputs(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """The files that a run wrote, the newest attempt first; up to 2,000 of each attempt."""
    rows = []
    for attempt in run_of(request, run_id).attempts.select_related("job").order_by("-number"):
        found, _more = outputs.files_of(attempt.job)
        for file in found:
            at = datetime.fromtimestamp(file.modified, UTC)
            rows.append({"path": file.address, "attempt": attempt.number, "size": file.size, "modified_at": at})
    return {"items": rows, "next": None}


@router.get("/{run_id}/outputs/{int:attempt}/{path:path}", openapi_extra=FILE)
def read_output(request: StudioRequest, run_id: str, attempt: int, path: str) -> HttpResponseBase:
    """One file that a run wrote."""
    answer: HttpResponseBase = detail_views.output(request, run_id=run_id, attempt=attempt, path=path)
    return answer


@router.get("/{run_id}/outputs.zip", openapi_extra=ZIP)
def zip_outputs(request: StudioRequest, run_id: str, asked: Query[OfAttempt]) -> HttpResponseBase:
    """Everything that a run wrote, as one zip."""
    answer: HttpResponseBase = detail_views.outputs_zip(request, run_id=run_id)
    return answer


@router.get("/{run_id}/snapshot", response=Listed[SnapshotFile])
def list_snapshot(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """The files of a run as they were at submission."""
    snapshot = run_of(request, run_id).snapshot
    return {"items": snapshot.manifest if snapshot else [], "next": None}


@router.get("/{run_id}/snapshot.zip", openapi_extra=ZIP)
def zip_snapshot(request: StudioRequest, run_id: str) -> HttpResponseBase:
    """The files of a run as they were at submission, as one zip."""
    answer: HttpResponseBase = detail_views.snapshot_zip(request, run_id=run_id)
    return answer
