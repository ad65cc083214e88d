"""The page of one run: its header, its tabs, and what can be done to it."""

import json
import shlex
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute.drivers import driver_class
from compute.drivers.base import Attaches
from compute.models import Job, Node
from compute.quotas.guarantees import can_be_stopped
from compute.quotas.verdict_views import ask_for_run
from compute.states import EndReason, JobState
from runs import actions, files, outputs, receipts, snapshots, usage
from runs.configuration import RunConfiguration
from runs.document import run_document
from runs.forms import LONGEST_DESCRIPTION, options_form, pairs_of, span_of, tags_of
from runs.listing import PAGE, with_what_a_row_shows
from runs.models import Attempt, Run
from runs.states import MOVES, RunStatus
from runs.streams import log_socket, streams_of
from runs.timeline import spans
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, may, require
from studio.said import said

TABS = ("logs", "details", "outputs", "snapshot", "children", "raw")


def run_of(request: StudioRequest, run_id: str) -> Run:
    """Return the run of that id in the page's workspace. Raises NotThere for any other."""
    found = Run.objects.select_related("workspace", "experiment", "target", "snapshot", "submitted_by", "parent")
    run = found.filter(workspace=request.workspace, run_id=run_id).first()
    if run is None:
        raise NotThere
    return run


@require_safe
def run_detail(request: StudioRequest, run_id: str) -> HttpResponse:
    """Show a run, one tab of it open."""
    run = run_of(request, run_id)
    if wants_partial(request) and request.GET.get("part") == "side":
        context = _header(request, run)
        return render(request, "runs/_run_side.html", context | _side(context["attempts"]))
    asked = request.GET.get("tab", "")
    tab = asked if asked in TABS else "logs"
    context = _header(request, run) | {"tab": tab, "tabs": _tabs(request, run, tab), "token": uuid4()}
    context |= _TAB_CONTEXT[tab](request, run, context["attempts"])
    return render(request, "runs/run_detail.html", context)


@require_safe
def run_header(request: StudioRequest, run_id: str) -> HttpResponse:
    """Show the part of the page that moves with the run."""
    run = run_of(request, run_id)
    return render(request, "runs/_run_header.html", _header(request, run) | {"token": uuid4()})


@require_POST
def cancel(request: StudioRequest, run_id: str) -> HttpResponse:
    """Ask the run to stop."""
    require(request.user, Right.CANCEL_RUN, request.workspace)
    actions.cancel_run(run_of(request, run_id), by=request.user)
    if wants_partial(request):
        return run_header_now(request, run_id)
    return redirect("runs:detail", workspace=request.workspace.name, run_id=run_id)


def run_header_now(request: StudioRequest, run_id: str) -> HttpResponse:
    """Return the header as it is after an action."""
    return render(request, "runs/_run_header.html", _header(request, run_of(request, run_id)) | {"token": uuid4()})


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: StudioRequest, run_id: str) -> HttpResponse:
    """Change a run's description and tags; a GET goes to where they are edited."""
    address = reverse("runs:detail", kwargs={"workspace": request.workspace.name, "run_id": run_id}) + "?tab=details"
    if request.method != "POST":
        run_of(request, run_id)
        return redirect(address)
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    run = run_of(request, run_id)
    description = request.POST.get("description", run.description).replace("\r\n", "\n").strip()
    rows = pairs_of(request.POST, "tag")
    problem = ""
    try:
        tags = tags_of(rows)
    except ValidationError as exc:
        problem, tags = " ".join(exc.messages), {}
    if len(description) > LONGEST_DESCRIPTION:
        problem = _("A description has up to %(n)d characters; this one has %(have)d.") % {
            "n": LONGEST_DESCRIPTION,
            "have": len(description),
        }
    if problem:
        context = _header(request, run) | {"tab": "details", "tabs": _tabs(request, run, "details"), "token": uuid4()}
        context |= _details(request, run, context["attempts"])
        context |= {"edit_problem": problem, "tag_rows": rows, "typed_description": description}
        return render(request, "runs/run_detail.html", context, status=422)
    actions.describe_run(run, description, by=request.user)
    if tags != run.tags:
        actions.set_tags(run, tags, by=request.user)
    messages.success(request, _("Saved."))
    return redirect(address)


@require_safe
def output(request: StudioRequest, run_id: str, attempt: int, path: str) -> HttpResponseBase:
    """Send a file that the run wrote: as a download, as an image (`?view=image`), or as a preview (`?view=preview`)."""
    job = _job_of(run_of(request, run_id), attempt)
    file, size = outputs.open_output(job, path)
    view = request.GET.get("view", "")
    if view == "preview":
        with file:
            shown = files.preview(file, path, size)
        context = {"preview": shown, "name": files.shown(path), "address": request.path, "anchor": "output"}
        return render(request, "runs/_file_preview.html", context)
    if view == "image":
        response = files.image(file, size)
        if response is None:
            raise NotThere
        return response
    return files.attachment(files.pieces_of(file), path.rpartition("/")[2], size=size)


@require_safe
def outputs_zip(request: StudioRequest, run_id: str) -> HttpResponseBase:
    """Send everything the run wrote as one zip, or one attempt's part of it (`?attempt=2`)."""
    run = run_of(request, run_id)
    jobs = [attempt.job for attempt in run.attempts.select_related("job")]
    asked = request.GET.get("attempt", "")
    if asked:
        jobs = [job for job in jobs if str(job.attempt) == asked]
    if not jobs:
        raise NotThere
    return files.attachment(outputs.zip_of(jobs), f"{run.display_name}-outputs.zip", kind="application/zip")


@require_safe
def snapshot_zip(request: StudioRequest, run_id: str) -> HttpResponseBase:
    """Send the files of the run as they were at submission."""
    run = run_of(request, run_id)
    if run.snapshot is None:
        raise NotThere
    name = f"{run.display_name}-{run.snapshot}.zip"
    return files.attachment(snapshots.zip_stream(run.snapshot), name, kind="application/zip")


@require_safe
def snapshot_file(request: StudioRequest, run_id: str, path: str) -> HttpResponseBase:
    """Send one file of the snapshot: as a download, as an image, or as a preview."""
    run = run_of(request, run_id)
    size = next((e["size"] for e in (run.snapshot.manifest if run.snapshot else []) if e["path"] == path), None)
    if run.snapshot is None or size is None:
        raise NotThere
    file = snapshots.open_file(run.snapshot, path)
    view = request.GET.get("view", "")
    if view == "preview":
        with file:
            shown = files.preview(file, path, size)
        context = {"preview": shown, "name": files.shown(path), "address": request.path, "anchor": "snapshot"}
        return render(request, "runs/_file_preview.html", context)
    if view == "image":
        response = files.image(file, size)
        if response is None:
            raise NotThere
        return response
    return files.attachment(files.pieces_of(file), path.rpartition("/")[2], size=size)


def _job_of(run: Run, number: int) -> Job:
    attempt = Attempt.objects.select_related("job").filter(run=run, number=number).first()
    if attempt is None:
        raise NotThere
    return attempt.job


def _header(request: StudioRequest, run: Run) -> dict[str, Any]:
    """Return what the header and the side show: two queries, and a third while it runs."""
    attempts = list(run.attempts.select_related("job"))
    last = attempts[-1].job if attempts else None
    phases = spans(run.events.all(), created_at=run.created_at, now=timezone.now())
    return {
        "nav": "runs",
        "run": run,
        "attempts": attempts,
        "last": last,
        "preempted": sum(attempt.job.end_reason == EndReason.PREEMPTED for attempt in attempts),
        "phases": phases,
        "usage": usage.of_run(run, with_children=True),
        "can_be_canceled": RunStatus.CANCEL_REQUESTED in MOVES[run.state],
        "can_be_resubmitted": run.target is not None and run.target.takes_runs and run.snapshot_id is not None,
        "git": _git(run.properties),
        "service": _service(run, last),
        "command": _command(run),
        "callout": _callout(run),
        "ended_how": receipts.summary_of(receipts.parts_of(last.receipt)) if last and run.has_ended else "",
        "ask": ask_for_run(last),
        "can_be_stopped": last is not None and last.state == JobState.RUNNING and can_be_stopped(last),
    }


def _callout(run: Run) -> dict[str, str] | None:
    """Return the sentence under the name, why it waits or why it ended as it did, and a tool's own words below it."""
    if not run.reason:
        return None
    tone = "bad" if run.status == RunStatus.FAILED else "warn"
    reason, _break, words = said(run.reason).partition("\n")
    return {"tone": tone, "reason": reason, "words": words, "hint": said(run.hint)}


def _git(properties: dict[str, Any]) -> dict[str, Any] | None:
    """Return the facts of the repository the files came from, with a link only where one is safe."""
    commit = str(properties.get("azureml.git.commit") or properties.get("mlflow.source.git.commit") or "")
    if not commit:
        return None
    repository = str(properties.get("azureml.git.repository_uri") or "")
    return {
        "branch": str(properties.get("azureml.git.branch") or ""),
        "commit": commit,
        "short": commit[:7],
        "dirty": str(properties.get("azureml.git.dirty", "")).lower() == "true",
        "url": repository.removesuffix(".git") if repository.startswith(("https://", "http://")) else "",
        "repository": repository,
    }


def _tabs(request: StudioRequest, run: Run, now: str) -> list[dict[str, Any]]:
    labels = {
        "logs": _("Logs"),
        "details": _("Details"),
        "outputs": _("Outputs"),
        "snapshot": _("Snapshot"),
        "children": _("Child runs"),
        "raw": _("Raw JSON"),
    }
    base = reverse("runs:detail", kwargs={"workspace": request.workspace.name, "run_id": run.run_id})
    counts = {"snapshot": run.snapshot.file_count if run.snapshot else None, "children": run.children.count() or None}
    return [
        {
            "key": key,
            "label": label,
            "url": base if key == "logs" else f"{base}?tab={key}",
            "current": key == now,
            "n": counts.get(key),
        }
        for key, label in labels.items()
    ]


def _logs(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    return {"groups": streams_of(run), "log_socket": log_socket(run)} | _side(attempts)


def _side(attempts: list[Attempt]) -> dict[str, Any]:
    """Return the node of a running attempt, whose load is shown live; None where no node can be told."""
    last = attempts[-1].job if attempts else None
    if last is None or not last.placed_on or last.state != JobState.RUNNING:
        return {"node": None}
    return {"node": Node.objects.filter(node_id=last.placed_on[0]).first()}


SERVICE_FACTS = {
    "application": gettext_lazy("Application"),
    "run": gettext_lazy("Run"),
    "state": gettext_lazy("State"),
    "exit_code": gettext_lazy("Exit code"),
}


def _service(run: Run, job: Job | None) -> dict[str, Any] | None:
    """Return what the service that runs the job says of it, with a link to its own page where that is safe."""
    if job is None or not job.facts or run.target is None:
        return None
    page = str(job.facts.get("page") or "")
    return {
        "label": driver_class(run.target.kind).label,
        "page": page if page.startswith(("https://", "http://")) else "",
        "facts": [(label, job.facts[key]) for key, label in SERVICE_FACTS.items() if job.facts.get(key)],
    }


def _command(run: Run) -> str:
    """Return what runs there as one would type it; a kind with scripts of its own runs them without a Python."""
    line = shlex.join([run.config.get("script", ""), *run.config.get("arguments", [])])
    attaches = _attaches(run)
    return line if attaches and attaches.scripts else f"python {line}"


def _own_python(run: Run) -> str:
    """Return which Python runs a script that asked for none by name."""
    attaches = _attaches(run)
    if attaches is None:
        return _("the studio's own")
    return "—" if attaches.scripts else _("the target's own")


def _attaches(run: Run) -> type[Attaches] | None:
    """Return the driver class of the run's target, where that is attached."""
    found = driver_class(run.target.kind) if run.target else None
    return found if found and issubclass(found, Attaches) else None


def _options(run: Run, config: RunConfiguration) -> list[tuple[str, Any]]:
    """Return what the run says to its target's kind, by the names that the form gives."""
    form = options_form(run.target.kind) if run.target else None
    names = {name: field.label or name for name, field in form.fields.items()} if form else {}
    return [(str(names.get(name, name)), value) for name, value in config.options.items() if value not in ("", None)]


def _details(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    config = RunConfiguration.from_json(run.config)
    return {
        "config": config,
        "options": _options(run, config),
        "own_python": _own_python(run),
        "max_duration": span_of(config.max_seconds),
        "tag_rows": list(run.tags.items()),
        "typed_description": run.description,
        "attempt_rows": [_attempt_row(attempt) for attempt in reversed(attempts)],
        "may_see_values": may(request.user, Right.SUBMIT_RUN, request.workspace),
    }


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    job = attempt.job
    reason = str(EndReason(job.end_reason).label) if job.end_reason else ""
    parts = receipts.parts_of(job.receipt)
    return {
        "number": attempt.number,
        "job": job,
        "state": JobState(job.state),
        "seconds": (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None,
        "reason": said(job.end_detail) or reason,
        "receipt": parts,
        "ended_how": receipts.summary_of(parts),
    }


def _outputs(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    """Return the tree of what each attempt wrote, the newest first, and the file that is looked at."""
    groups = []
    open_file = request.GET.get("attempt", ""), request.GET.get("file", "")
    for attempt in reversed(attempts):
        found, more = outputs.files_of(attempt.job)
        base = {"workspace": request.workspace.name, "run_id": run.run_id, "attempt": attempt.number}
        entries = [
            (
                file.path,
                file.size,
                {
                    "url": reverse("runs:output", kwargs=base | {"path": file.address}),
                    "path_said": quote(file.address, safe="/"),
                    "is_open": open_file == (str(attempt.number), file.address),
                },
            )
            for file in found
        ]
        groups.append(
            {
                "attempt": attempt.number,
                "tree": files.tree_of(entries),
                "count": len(found),
                "size": sum(file.size for file in found),
                "more": more,
            }
        )
    context: dict[str, Any] = {"groups": groups, "most_listed": outputs.MOST_LISTED}
    number, path = open_file
    if path and number.isdecimal() and len(number) < 6:
        file, size = outputs.open_output(_job_of(run, int(number)), path)
        with file:
            context["preview"] = files.preview(file, path, size)
        context["name"] = files.shown(path)
        kwargs = {"workspace": request.workspace.name, "run_id": run.run_id, "attempt": int(number), "path": path}
        context["address"] = reverse("runs:output", kwargs=kwargs)
    return context


def _snapshot(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    if run.snapshot is None:
        return {"tree": []}
    base = {"workspace": request.workspace.name, "run_id": run.run_id}
    path = request.GET.get("file", "")
    if not path:
        script = run.config.get("script", "")
        path = script if any(e["path"] == script for e in run.snapshot.manifest) else ""
    entries = [
        (
            e["path"],
            e["size"],
            {
                "url": reverse("runs:snapshot_file", kwargs=base | {"path": e["path"]}),
                "path_said": quote(e["path"], safe="/"),
                "is_open": e["path"] == path,
            },
        )
        for e in run.snapshot.manifest
    ]
    context: dict[str, Any] = {"tree": files.tree_of(entries)}
    entry = next((e for e in run.snapshot.manifest if e["path"] == path), None)
    if entry:
        with snapshots.open_file(run.snapshot, path) as file:
            context["preview"] = files.preview(file, path, entry["size"])
        context["name"] = files.shown(path)
        context["address"] = reverse("runs:snapshot_file", kwargs=base | {"path": path})
    elif path:
        raise NotThere
    return context


def _children(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    children = list(with_what_a_row_shows(Run.objects.filter(parent=run)).order_by("number")[: PAGE + 1])
    return {"children": children[:PAGE], "more_children": len(children) > PAGE}


def _raw(request: StudioRequest, run: Run, attempts: list[Attempt]) -> dict[str, Any]:
    base = {"workspace": request.workspace.name, "run_id": run.run_id}
    log_files = {
        stream: request.build_absolute_uri(reverse("runs:log", kwargs=base | {"stream": stream}))
        for group in streams_of(run)
        for stream in group.streams
    }
    with_values = may(request.user, Right.SUBMIT_RUN, request.workspace)
    document = run_document(run, log_files=log_files, with_values=with_values)
    return {"document": json.dumps(document, indent=2, ensure_ascii=False)}


_TAB_CONTEXT = {
    "logs": _logs,
    "details": _details,
    "outputs": _outputs,
    "snapshot": _snapshot,
    "children": _children,
    "raw": _raw,
}
