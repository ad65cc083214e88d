"""The page of the queue: what waits, in order; own runs change places, Owners set priorities."""

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from runs import queueing
from runs.detail_views import run_of
from runs.list_views import MOST_AT_ONCE
from runs.queue_listing import MOST, NAMED, Queue, QueueFilter
from studio.errors import NotAllowedNow
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require


@require_safe
def queue(request: StudioRequest) -> HttpResponse:
    """Show what waits; for htmx the table alone."""
    asked = QueueFilter.from_query(request.GET)
    template = "runs/_queue_table.html" if wants_partial(request) else "runs/queue.html"
    return render(request, template, _context(request, asked))


@require_POST
def move(request: StudioRequest, run_id: str) -> HttpResponse:
    """Let an own run change places with the own one before (`to=up`) or behind it (`to=down`)."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    queueing.move(run_of(request, run_id), up=request.POST.get("to") != "down", by=request.user)
    if wants_partial(request):
        return render(request, "runs/_queue_table.html", _context(request, _asked(request)))
    return back_to_queue(request)


@require_POST
def set_priority(request: StudioRequest) -> HttpResponse:
    """Give the selected runs a priority, by its name or a number of one's own."""
    require(request.user, Right.ORDER_QUEUE, request.workspace)
    ids = request.POST.getlist("run")[:MOST_AT_ONCE]
    if not ids:
        messages.info(request, _("No run was selected."))
        return back_to_queue(request)
    typed = (request.POST.get("number") or request.POST.get("priority") or "").strip()
    sign, digits = (-1, typed[1:]) if typed[:1] in ("-", "−") else (1, typed)
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 6):
        raise NotAllowedNow(
            _("“%(typed)s” is no priority.") % {"typed": typed[:20]}, _("Type a whole number from -1000 to 1000.")
        )
    changed = queueing.set_priority(request.workspace, ids, sign * int(digits), by=request.user)
    said = ngettext("%(n)d run has another priority now.", "%(n)d runs have another priority now.", changed)
    messages.success(request, said % {"n": changed})
    return back_to_queue(request)


def _asked(request: StudioRequest) -> QueueFilter:
    return QueueFilter.from_query(QueryDict(request.POST.get("back", "").removeprefix("?")))


def back_to_queue(request: StudioRequest) -> HttpResponse:
    """Go back to the queue as it was filtered."""
    response = redirect("runs:queue", workspace=request.workspace.name)
    response["Location"] += _asked(request).query.removesuffix("?")
    return response


def _context(request: StudioRequest, asked: QueueFilter) -> dict[str, object]:
    shown = Queue(request.workspace, request.user)
    return {
        "nav": "queue",
        "asked": asked,
        "entries": shown.entries(asked),
        "targets": shown.targets,
        "people": shown.people,
        "is_cut": len(shown.jobs) == MOST,
        "most": MOST,
        "named": list(NAMED.items()),
        "base": request.path.split("queue/")[0] + "queue/",
    }
