"""Submitting a run: the form, what it can say before it is sent, and resubmitting."""

import shlex
from collections.abc import Callable
from typing import Any, BinaryIO, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute.actions import cannot_ever_run
from compute.drivers import driver_class, kinds_with
from compute.drivers.base import Attaches, Executes, Queues
from compute.models import ComputeTarget, Job
from compute.prices.price import Prices
from compute.quotas.verdict_views import run_verdict_context
from compute.states import JobState
from runs import actions, snapshots, uploads
from runs.configuration import DEFAULT_MAX_SECONDS
from runs.detail_views import run_detail, run_of
from runs.forms import SubmitForm, initial_like, likeliest_script, options_form, span_of
from runs.models import Experiment, Run, Snapshot
from runs.streams import log_socket, streams_of
from studio.errors import NotThere, StudioError, TooLarge
from studio.http import StudioRequest, for_content
from studio.people.models import User
from studio.people.permissions import Right, may, require

# The multipart frames around 2,000 files take room too.
MOST_UPLOADED = settings.SNAPSHOT_MAX_BYTES + 64 * 1024 * 1024


@require_http_methods(["GET", "HEAD", "POST"])
def submit(request: StudioRequest) -> HttpResponse:
    """Show the form, or submit a run; upload.js asks for JSON, so that chosen files stay chosen."""
    if request.method == "POST":
        if int(request.headers.get("Content-Length") or 0) > MOST_UPLOADED:
            raise TooLarge(
                _("The upload is larger than %(n)d MB.") % {"n": MOST_UPLOADED // 1_000_000},
                _("Leave files out with an .amlignore, or keep data where the script can fetch it."),
            )
        require(request.user, Right.SUBMIT_RUN, request.workspace)
        return _submit(request)
    like = _like(request)
    may_submit = may(request.user, Right.SUBMIT_RUN, request.workspace)
    initial: dict[str, Any] = {"source": "upload", "experiment": request.GET.get("experiment", "")[:255]}
    form = SubmitForm(workspace=request.workspace, like=like, initial=initial)
    if like is not None:
        initial |= initial_like(like, with_values=may_submit)
        form.tag_rows, form.variable_rows = initial.pop("tag_rows"), initial.pop("variable_rows")
    if request.GET.get("target"):
        initial["target"] = request.GET["target"][:24]
    if not initial["experiment"]:
        initial["experiment"] = _usual_experiment(request)
    initial["token"] = uuid4()
    form.initial = initial
    return render(request, "runs/submit.html", _context(request, form))


@require_safe
def check(request: StudioRequest) -> HttpResponse:
    """Say before the form is sent why a run could never be placed, and what its arguments are read as."""
    name, count = request.GET.get("target", ""), request.GET.get("node_count", "1")
    target = _targets(request).filter(name=name).first()
    reason = ""
    if target is not None and count.isdecimal() and len(count) < 7:
        reason = cannot_ever_run(target, max(1, int(count))) or ""
    try:
        arguments = shlex.split(request.GET.get("arguments", "")[:8000].replace("\\\n", " "))
        unclosed = False
    except ValueError:
        arguments, unclosed = [], True
    context = {"reason": reason, "arguments": arguments[:200], "unclosed": unclosed, "chosen": target}
    nodes = max(1, int(count)) if count.isdecimal() and len(count) < 7 else 1
    context |= run_verdict_context(request, None if reason else target, nodes)
    return render(request, "runs/_submit_check.html", context)


@require_POST
def resubmit(request: StudioRequest, run_id: str) -> HttpResponse:
    """Submit the same again. The form's token makes a double click one run."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    run = run_of(request, run_id)
    try:
        token = UUID(request.POST.get("token", ""))
    except ValueError:
        token = uuid4()
    new = actions.resubmit_run(run, by=request.user, token=token)
    return redirect(_address(request, new))


def _submit(request: StudioRequest) -> HttpResponse:
    like = _like(request)
    form = SubmitForm(request.POST, workspace=request.workspace, like=like)
    if form.is_valid():
        made = Run.objects.filter(token=form.cleaned_data["token"], workspace=request.workspace).first()
        if made is None:
            made = submitted(form, by=request.user, take=lambda: _snapshot(request, form))
        if made is not None:
            if _wants_json(request):
                return JsonResponse(_made(request, made), status=201)
            return redirect(_address(request, made))
    if _wants_json(request):
        return JsonResponse({"errors": form.errors.get_json_data()}, status=422)
    return render(request, "runs/submit.html", _context(request, form), status=422)


def _made(request: StudioRequest, run: Run) -> dict[str, str]:
    """Return the run's page, and the log that it opens with, for a script that wants both at once."""
    (group, *_earlier) = streams_of(run)
    address = _address(request, run)
    page = run_detail(for_content(request, address), run.run_id).content.decode()
    return {"location": address, "page": page, "log": log_socket(run), "stream": group.streams[0]}


def submitted(form: SubmitForm, *, by: User, take: Callable[[], snapshots.Taken]) -> Run | None:
    """Submit a run from a valid form; None when something was wrong, which then stands by its field.

    `take` takes the files in. Raises StudioError, whose message is for the files' field.
    """
    said, target = form.cleaned_data, form.chosen
    if target is None:
        return None
    field = {"paste": "code", "same": "source"}.get(said["source"], "files")  # where an error belongs
    try:
        snapshot, facts = take()
        field = "script"
        script = _script(form, snapshot)
        field = ""
        return actions.submit_run(
            form.workspace,
            by=by,
            experiment=said["experiment"],
            target=target,
            snapshot=snapshot,
            config=form.configuration(script),
            tags=said["tags"],
            description=said["description"],
            properties=facts,
            token=said["token"],
        )
    except StudioError as exc:
        form.add_error(field or None, f"{exc.message} {exc.hint}".strip())
        return None


def _snapshot(request: StudioRequest, form: SubmitForm) -> tuple[Snapshot, dict[str, str]]:
    """Take the files in, however they came. Raises StudioError, whose message is for the files' field."""
    source = form.cleaned_data["source"]
    if source == "same":
        assert form.like is not None  # noqa: S101  the form has seen to it
        assert form.like.snapshot is not None  # noqa: S101
        kept = {
            key: value for key, value in form.like.properties.items() if key.startswith(("azureml.git.", "mlflow."))
        }
        return form.like.snapshot, kept
    if source == "paste":
        return snapshots.from_text(request.workspace, form.cleaned_data["code_name"], form.cleaned_data["code"])
    if upload_id := request.POST.get("upload"):
        return uploads.find(request.workspace, request.user, upload_id).finish(request.workspace)
    if archive := request.FILES.get("archive"):
        return snapshots.from_zip(request.workspace, cast(BinaryIO, archive.file))
    files, paths = request.FILES.getlist("files"), request.POST.getlist("paths")
    if not files:
        raise StudioError(_("There are no files yet."), _("Drop a folder, choose files, or paste a script."))
    if len(paths) != len(files):
        paths = [file.name or "" for file in files]  # a browser without scripts sends names alone
    return snapshots.from_files(
        request.workspace, zip(paths, (cast(BinaryIO, file.file) for file in files), strict=True)
    )


def _script(form: SubmitForm, snapshot: Snapshot) -> str:
    """Return which file is run. Raises StudioError when none is said and none stands out, or when it is not there."""
    paths = [entry["path"] for entry in snapshot.manifest]
    asked = str(form.cleaned_data["script"]).strip().removeprefix("./")
    driver = form.chosen.driver if form.chosen is not None else None
    needed = driver.scripts if isinstance(driver, Attaches) else ""
    ending = needed or ".py"
    script = paths[0] if form.cleaned_data["source"] == "paste" else asked or likeliest_script(paths, ending)
    scripts = [path for path in paths if path.endswith(ending)]
    hint = (
        _("There are: %(names)s.") % {"names": ", ".join(scripts[:8]) + (" …" if len(scripts) > 8 else "")}
        if scripts
        else _("None of the files ends in %(ending)s.") % {"ending": ending}
    )
    if not script:
        raise StudioError(_("Say which script is run."), hint)
    if script not in paths:
        raise StudioError(_("The files have no “%(script)s”.") % {"script": script[:200]}, hint)
    if not script.endswith(needed):
        raise StudioError(_("Its target runs scripts whose names end in %(ending)s.") % {"ending": needed}, hint)
    return str(script)


def _like(request: StudioRequest) -> Run | None:
    """Return the run whose settings or files are wanted again. Raises NotThere for one elsewhere."""
    asked = request.POST.get("like") or request.GET.get("like")
    if not asked:
        return None
    run = Run.objects.select_related("experiment", "snapshot").filter(workspace=request.workspace, run_id=asked).first()
    if run is None:
        raise NotThere
    return run


def _targets(request: StudioRequest) -> Any:
    kinds = {*kinds_with(Executes), *kinds_with(Queues)}
    return (
        ComputeTarget.objects.existing().filter(workspace=request.workspace, kind__in=kinds).select_related("workspace")
    )


def _usual_experiment(request: StudioRequest) -> str:
    """Return the experiment the person used last, else "default"."""
    last = Run.objects.filter(workspace=request.workspace, submitted_by=request.user).order_by("-created_at")
    return last.values_list("experiment__name", flat=True).first() or "default"


def _choices(request: StudioRequest) -> list[dict[str, Any]]:
    """Return the targets to pick from, with what each is and why it cannot be picked; those that can come first."""
    targets = list(_targets(request).order_by("name"))
    waiting = _counts(targets, Q(state__in=[JobState.PREPARING, JobState.WAITING, JobState.QUEUED]))
    busy = _counts(targets, Q(state__in=[JobState.STARTING, JobState.RUNNING, JobState.ENDING]))
    prices = Prices(request.workspace)
    choices = [
        {
            "target": target,
            "price": prices.of(target),
            "kind": driver_class(target.kind).label,
            "environments": " ".join(_environments(target)),
            "reason": cannot_ever_run(target, 1) or "",
            "waiting": waiting.get(target.pk, 0),
            "busy": busy.get(target.pk, 0),
        }
        for target in targets
    ]
    return sorted(choices, key=lambda choice: bool(choice["reason"]))


def _environments(target: ComputeTarget) -> list[str]:
    """Return which of the form's environments a target takes; none, where its scripts are not Python's."""
    driver = driver_class(target.kind)
    offered = driver.environments if issubclass(driver, Attaches) else Attaches.environments
    return [] if issubclass(driver, Attaches) and driver.scripts else sorted(offered)


def _counts(targets: list[ComputeTarget], which: Q) -> dict[int, int]:
    rows = Job.objects.filter(which, target__in=targets).order_by().values_list("target").annotate(n=Count("pk"))
    return dict(rows)


def _context(request: StudioRequest, form: SubmitForm) -> dict[str, Any]:
    choices = _choices(request)
    picked = form["target"].value()
    if not picked:
        usable = [choice["target"].name for choice in choices if not choice["reason"]]
        picked = usable[0] if usable else ""
    like = form.like
    experiments = Experiment.objects.filter(workspace=request.workspace, archived_at=None).order_by("-pk")
    return {
        "nav": "runs",
        "form": form,
        "choices": choices,
        "picked": picked,
        "picked_kind": next((choice["target"].kind for choice in choices if choice["target"].name == picked), ""),
        "source": form["source"].value() or "upload",
        "environment": form["environment"].value() or "interpreter",
        "like": like,
        "like_files": [entry["path"] for entry in like.snapshot.manifest] if like and like.snapshot else [],
        "experiments": experiments.values_list("name", flat=True)[:200],
        "options": _options(form, {choice["target"].kind: choice["kind"] for choice in choices}),
        "default_duration": span_of(DEFAULT_MAX_SECONDS),
        "most_bytes": settings.SNAPSHOT_MAX_BYTES,
        "most_said": f"{settings.SNAPSHOT_MAX_BYTES // 2**20} MB",
        "most_files": settings.SNAPSHOT_MAX_FILES,
        "token": form["token"].value() or uuid4(),
    }


def _options(form: SubmitForm, kinds: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each of the kinds asks of a run, to be shown while a target of that kind is chosen."""
    like, parts = form.like, []
    for kind, label in kinds.items():
        initial = like.config.get("options", {}) if like and like.target and like.target.kind == kind else {}
        typed = form.options if form.options is not None and form.chosen and form.chosen.kind == kind else None
        if (own := typed or options_form(kind, initial=initial)) is not None:
            for name in own.needed:
                own.fields[name].required = True  # for whoever reads it: it shows only where it is
            depends = {name: (own.add_prefix(on), value) for name, (on, value) in own.shown_with.items()}
            fields = [{"bound": own[name], "depends": depends.get(name)} for name in own.fields]
            parts.append({"kind": kind, "label": label, "fields": fields})
    return parts


def _wants_json(request: StudioRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _address(request: StudioRequest, run: Run) -> str:
    return reverse("runs:detail", kwargs={"workspace": request.workspace.name, "run_id": run.run_id})
