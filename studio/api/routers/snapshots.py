"""Files to be run: a zip at once, or an upload in pieces of what the workspace does not hold yet."""

from typing import Any, BinaryIO, cast

from django.utils.translation import gettext as _
from ninja import Field, File, Query, Router, Schema, Status
from ninja.files import UploadedFile

from runs import snapshots, uploads
from studio.api.kit import Asked, Text
from studio.errors import NotAllowedNow
from studio.http import StudioRequest
from studio.people.permissions import Right, require

router = Router()
PIECE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "maxLength": uploads.LARGEST_PIECE}}},
    }
}


class Taken(Schema):
    snapshot: str = Field(description="Its digest, by which a run is submitted.")
    files: int
    bytes: int
    properties: dict[str, str] = Field(description="What git says of the files.")


class FileSaid(Asked):
    path: Text = Field(max_length=4096)
    sha256: Text = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=2**53)


class NewUpload(Asked):
    files: list[FileSaid] = Field(min_length=1)
    texts: dict[Text, Text] = Field({}, description="The text of .amlignore and of git's own files, by path.")


class Progress(Schema):
    id: str
    missing: list[str] = Field(description="The hashes of what has to be sent, in the order in which the bytes follow.")
    size: int = Field(description="Bytes of all that.")
    received: int


class Offset(Asked):
    offset: int = Field(0, ge=0, le=2**53, description="Where the piece begins.")


@router.post("/snapshots", response={201: Taken})
def take_zip(request: StudioRequest, archive: File[UploadedFile]) -> Status[dict[str, Any]]:
    """Take the files of a zip in; runs are submitted with the digest."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    snapshot, facts = snapshots.from_zip(request.workspace, cast(BinaryIO, archive.file))
    said = {"snapshot": snapshot.digest, "files": snapshot.file_count, "bytes": snapshot.size_bytes}
    return Status(201, said | {"properties": facts})


@router.post("/uploads", response={201: Progress})
def begin_upload(request: StudioRequest, asked: NewUpload) -> Status[dict[str, Any]]:
    """Begin an upload, or find it again: say which files there are, and hear which of them have to be sent."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    files = [one.model_dump() for one in asked.files]
    return Status(201, _progress(uploads.begin(request.workspace, request.user, files, dict(asked.texts))))


def _progress(upload: uploads.Upload) -> dict[str, Any]:
    missing = [one.sha256 for one in upload.missing]
    return {"id": upload.id, "missing": missing, "size": upload.size, "received": upload.received}


@router.get("/uploads/{upload_id}", response=Progress)
def get_upload(request: StudioRequest, upload_id: str) -> dict[str, Any]:
    """How far an upload of yours got."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    return _progress(uploads.find(request.workspace, request.user, upload_id))


@router.put("/uploads/{upload_id}", response=Progress, openapi_extra=PIECE)
def send_piece(request: StudioRequest, upload_id: str, asked: Query[Offset]) -> dict[str, Any]:
    """Send the next piece of an upload, up to 8 MB; the same piece twice changes nothing."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    upload = uploads.find(request.workspace, request.user, upload_id)
    if not upload.write(asked.offset, request.body):
        said = {"n": upload.received}
        raise NotAllowedNow(_("The piece leaves a gap."), _("Go on at byte %(n)d.") % said)
    return _progress(upload)
