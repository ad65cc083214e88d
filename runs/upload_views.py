"""The files of a run before it is submitted: what has to be sent, the pieces, and how far they got."""

import json

from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods, require_POST

from runs import uploads
from studio.errors import StudioError
from studio.http import StudioRequest
from studio.people.permissions import Right, require


@require_POST
def begin(request: StudioRequest) -> HttpResponse:
    """Take the list of files with their hashes; answer with what is missing, in the order to send it in."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    try:
        said = json.loads(request.body)
        files, texts = (said.get("files"), said.get("texts") or {}) if isinstance(said, dict) else (None, {})
    except (ValueError, RecursionError):
        files, texts = None, {}
    try:
        upload = uploads.begin(request.workspace, request.user, files, texts)
    except StudioError as exc:
        return JsonResponse({"errors": {"files": [{"message": f"{exc.message} {exc.hint}".strip()}]}}, status=422)
    missing = [one.sha256 for one in upload.missing]
    return JsonResponse({"id": upload.id, "missing": missing, "size": upload.size, "received": upload.received})


@require_http_methods(["GET", "HEAD", "PUT"])
def upload(request: StudioRequest, upload_id: str) -> HttpResponse:
    """Say how far an upload got, or take its next piece (`?offset=`).

    A piece that leaves a gap is answered with 409 and with how far it got.
    """
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    found = uploads.find(request.workspace, request.user, upload_id)
    status = 200
    if request.method == "PUT":
        offset = request.GET.get("offset", "")
        if not offset.isdecimal() or len(offset) > 12 or not found.write(int(offset), request.body):
            status = 409
    return JsonResponse({"received": found.received, "size": found.size}, status=status)
