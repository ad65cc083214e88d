"""Limits as a table: to take along, and to bring back, seen before it is stored."""

import json
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from compute.quotas import tables
from studio import csvs
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, require


@require_safe
def export_limits(request: StudioRequest) -> HttpResponse:
    """Give the limits that apply here as CSV."""
    response = HttpResponse("".join(csvs.written(tables.written(request.workspace))), content_type=csvs.CONTENT_TYPE)
    response["Content-Disposition"] = f'attachment; filename="limits-{request.workspace.name}.csv"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def import_limits(request: StudioRequest) -> HttpResponse:
    """Ask for a table, show what it would change, and with `apply` change it: each row by itself."""
    context: dict[str, Any] = {"nav": "quotas", "tab": "csv", "head": ",".join(tables.HEAD)}
    if request.method != "POST":
        return render(request, "compute/quota_table.html", context)
    require(request.user, Right.EDIT_QUOTA, request.workspace)
    try:
        text = _text(request)
        rows = tables.read(text, request.workspace, by=request.user)
    except NotValid as exc:
        return render(request, "compute/quota_table.html", context | {"wrong": exc.fields[0][1]}, status=422)
    seen = {str(row.number): row.before for row in rows}
    if "apply" in request.POST:
        moved = _moved(request.POST.get("seen", ""), seen)
        for row in rows:
            if row.number in moved:
                row.wrong.append(
                    _("It was changed meanwhile, to %(now)s. Look again, and decide.") % {"now": row.before}
                )
        tables.apply(rows, by=request.user)
        context["applied"] = True
    context |= {
        "rows": rows,
        "text": text,
        "seen": json.dumps(seen),
        "changes": sum(row.changes for row in rows),
        "refused": sum(row.is_refused for row in rows),
    }
    return render(request, "compute/quota_table.html", context)


def _text(request: StudioRequest) -> str:
    if file := request.FILES.get("file"):
        return tables.decoded(file.read(tables.MOST_BYTES + 1))
    text = request.POST.get("text", "")
    if not text.strip():
        raise NotValid([("file", _("Choose a file first."))])
    return tables.decoded(text.encode())


def _moved(sent: str, now: dict[str, str]) -> set[int]:
    """Return the lines whose limits are no longer what was shown."""
    try:
        shown = json.loads(sent)
    except (ValueError, RecursionError):
        return set()
    if not isinstance(shown, dict):
        return set()
    return {int(number) for number, before in now.items() if number in shown and shown[number] != before}
