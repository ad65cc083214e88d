"""The page of usage: one's own, and with the right everybody's; on the screen and as CSV."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute.prices.price import Prices
from runs.usage_listing import ALL, MOST_LINES, UsageFilter, rows_of, table, total
from studio import csvs
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require


@require_safe
def usage(request: StudioRequest) -> HttpResponse:
    """Show what was used: `?whose=all` everybody's, `&by=`, `&range=` or `&since=…&until=…`, `&format=csv`."""
    asked = UsageFilter.from_query(request.GET)
    if asked.everybody:
        require(request.user, Right.VIEW_USAGE, request.workspace)
    rows = rows_of(asked, request.workspace, request.user)
    if request.GET.get("format") == "csv":
        response = HttpResponse("".join(csvs.written(table(asked, rows))), content_type=csvs.CONTENT_TYPE)
        name = f"usage-{request.workspace.name}-{asked.since}-{asked.last}-{asked.by}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
    context = {
        "nav": "usage",
        "asked": asked,
        "rows": rows[:MOST_LINES],
        "more": max(0, len(rows) - MOST_LINES),
        "most": max((row.line.node_ms for row in rows), default=0),
        "total": total(rows),
        "label": ALL[asked.by],
        "is_priced": any(row.host_id or row.target_id for row in Prices(request.workspace).given),
    }
    template = "runs/_usage_table.html" if wants_partial(request) else "runs/usage.html"
    return render(request, template, context)
