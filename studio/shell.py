"""The frame around every page, home and search: what looks at both apps at once."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Subquery, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from compute import disk, listing
from compute.drivers import kinds_with
from compute.drivers.base import Attaches
from compute.models import ComputeTarget
from compute.quotas.models import QuotaRequest, Scope
from runs.models import Experiment, Run
from runs.queue_listing import waiting_count
from runs.states import FINAL, WAITING, RunStatus
from studio.http import StudioRequest, wants_partial
from studio.notifications.models import Webhook
from studio.people.models import Membership, Workspace
from studio.people.permissions import TABLE, Right, Role, may

SHOWN_ON_HOME = 6  # of each list
LATELY = timedelta(days=7)
FOUND_AS_YOU_TYPE = 5  # of each kind
FOUND = 50


class Frame:
    """What the frame shows; nothing is asked of the database until a template does, so parts of pages cost nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def is_signed_in(self) -> bool:
        user = getattr(self.request, "user", None)
        return user is not None and bool(user.is_authenticated)

    @property
    def layout(self) -> str:
        """Return the template that an error's page extends: with the frame, or without for a visitor."""
        return "base.html" if self.is_signed_in else "plain.html"

    @property
    def stays(self) -> bool:
        """Say whether the browser has the frame already and puts only the content into it, as static/js/go.js does."""
        htmx = getattr(self.request, "htmx", None)
        return htmx is not None and htmx.target == "main" and not htmx.history_restore_request

    @property
    def skeleton(self) -> str:
        """Return the template around the content and, unless it stays, the frame."""
        return "_within.html" if self.stays else "document.html"

    @property
    def theme(self) -> str:
        """Return "light", "dark" or "system"."""
        return str(getattr(getattr(self.request, "user", None), "theme", "system"))

    @property
    def came_from(self) -> str:
        """Return the page of ours that the request came from, or the start."""
        page = self.request.headers.get("Referer", "")
        ours = url_has_allowed_host_and_scheme(page, {self.request.get_host()}, require_https=self.request.is_secure())
        return page if ours else "/"

    @cached_property
    def workspaces(self) -> list[Workspace]:
        return list(Workspace.objects.for_user(self.request.user).order_by("name"))

    @cached_property
    def blocked(self) -> list[ComputeTarget]:
        """Return the targets that wait for this person: blocked, and attached by them or in a workspace they own."""
        space: Workspace | None = getattr(self.request, "workspace", None)
        if space is None:
            return []
        found = ComputeTarget.objects.existing().filter(workspace=space, kind__in=kinds_with(Attaches))
        found = found.filter(config__changed_host_key__isnull=False)
        if not may(self.request.user, Right.EDIT_SAFETY, space):
            found = found.filter(created_by=self.request.user.pk)
        return list(found.order_by("name"))

    def _has(self, right: Right) -> bool:
        """Say whether the person's role in the page's workspace, which was read already, has a right."""
        membership: Membership | None = getattr(self.request, "membership", None)
        return membership is not None and right in TABLE[Role(membership.role)]

    @property
    def shows_activity(self) -> bool:
        return self._has(Right.VIEW_ACTIVITY)

    @cached_property
    def failing_webhooks(self) -> list[Webhook]:
        """Return the webhooks that were given up, for who may mend them."""
        if not self._has(Right.EDIT_NOTIFICATIONS):
            return []
        return list(self.request.workspace.webhooks.exclude(problem=""))  # type: ignore[attr-defined]

    def quota_requests(self, space: Workspace) -> QuerySet[Any] | None:
        """Return the requests for more quota that wait for this person; None for who answers none."""
        opened = QuotaRequest.objects.open()
        answers = opened.of_studio() if getattr(self.request.user, "is_superuser", False) else None
        if self._has(Right.EDIT_QUOTA):
            own = opened.filter(workspace=space).exclude(scope=Scope.STUDIO)
            answers = own if answers is None else answers | own
        return answers

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the numbers beside the navigation's links, in one query."""
        space: Workspace | None = getattr(self.request, "workspace", None)
        if space is None:
            return {}
        counted: dict[str, QuerySet[Any]] = {
            "active_run_count": Run.objects.active().filter(workspace=space, archived_at=None),
            "experiment_count": Experiment.objects.filter(workspace=space, archived_at=None),
            "waiting_count": waiting_count(space),
            "target_count": ComputeTarget.objects.existing().filter(workspace=space),
            "member_count": Membership.objects.filter(workspace=space),
        }
        if (answers := self.quota_requests(space)) is not None:
            counted["request_count"] = answers
        numbers = {name: Coalesce(Subquery(_count(rows)), 0) for name, rows in counted.items()}
        found = Workspace.objects.filter(pk=space.pk).values_list(*numbers.values()).get()
        return dict(zip(numbers, found, strict=True))


def _count(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return `rows` as a query of their number, to stand inside another."""
    number = Count("pk", output_field=IntegerField())
    counted: QuerySet[Any] = rows.order_by().annotate(_all=Value(1)).values("_all").annotate(_n=number).values("_n")
    return counted


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every page what the frame shows: theme, workspaces to switch to, the navigation's counts."""
    return {"frame": Frame(request)}


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process serves pages and reaches its database."""
    Workspace.objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def start(request: StudioRequest) -> HttpResponse:
    """Go to the workspace last looked at, else to the person's first."""
    spaces = request.user.workspaces.order_by("name")
    chosen = spaces.filter(name=request.session.get("workspace", "")).first() or spaces.first()
    if chosen is None:
        return render(request, "no_workspace.html")
    return redirect("home", workspace=chosen.name)


@dataclass(frozen=True)
class Work:
    """Home's lists of runs: each its first few, and how many there are."""

    running: list[Run]
    waiting: list[Run]
    failed: list[Run]
    counts: dict[str, int]
    has_runs: bool
    has_success: bool

    @classmethod
    def of(cls, workspace: Workspace) -> "Work":
        runs = Run.objects.filter(workspace=workspace, archived_at=None)
        lately = timezone.now() - LATELY
        is_running = ~Q(status__in=[*WAITING, *FINAL])
        is_waiting, has_failed = Q(status__in=WAITING), Q(status=RunStatus.FAILED, ended_at__gte=lately)
        shown = runs.select_related("experiment", "submitted_by", "target")
        return cls(
            running=list(shown.filter(is_running).order_by("-created_at")[:SHOWN_ON_HOME]),
            waiting=list(shown.filter(is_waiting).order_by("created_at")[:SHOWN_ON_HOME]),
            failed=list(shown.filter(has_failed).order_by("-ended_at")[:SHOWN_ON_HOME]),
            counts=runs.aggregate(
                running=Count("pk", filter=is_running),
                waiting=Count("pk", filter=is_waiting),
                failed=Count("pk", filter=has_failed),
            ),
            has_runs=Run.objects.filter(workspace=workspace).exists(),
            has_success=Run.objects.filter(workspace=workspace, status=RunStatus.COMPLETED).exists(),
        )


def compute_rows(workspace: Workspace) -> list[listing.Row]:
    """Return the targets that home shows: those with something going on first, then by name."""
    busy = Count("jobs", filter=~Q(jobs__state="Ended"))
    found = ComputeTarget.objects.existing().filter(workspace=workspace).annotate(busy=busy)
    return listing.rows(list(found.order_by("-busy", "name").values_list("pk", flat=True)[:SHOWN_ON_HOME]))


@require_safe
def home(request: StudioRequest) -> HttpResponse:
    """Show what runs, what waits and why, what failed lately, and compute at a glance; ?part= refreshes one of them."""
    space, part = request.workspace, request.GET.get("part") if wants_partial(request) else None
    if part == "blocked":
        return render(request, "_blocked.html")
    if part == "nav":
        return render(request, "_nav.html", {"nav": request.GET.get("nav", ""), "partial": True})
    facts: dict[str, Any] = {"nav": "home"}
    if part != "compute":
        facts["work"] = Work.of(space)
    if part != "work":
        facts["rows"] = compute_rows(space)
    if part is None:
        facts |= {"free_bytes": disk.free_bytes(), "floor_bytes": settings.DISK_FLOOR_BYTES}
    if part is None and not facts["work"].has_success:
        facts["has_cluster"] = ComputeTarget.objects.existing().filter(workspace=space).exclude(kind="local").exists()
    template = {"work": "_home_work.html", "compute": "_home_compute.html"}.get(part or "", "home.html")
    return render(request, template, facts)


@require_safe
def search(request: StudioRequest) -> HttpResponse:
    """Find targets, runs and experiments of the workspace by name, id or tag; a few of each as one types."""
    text = request.GET.get("q", "").strip()[:100]
    found = find(request.workspace, text, FOUND_AS_YOU_TYPE if wants_partial(request) else FOUND)
    template = "_search_results.html" if wants_partial(request) else "search.html"
    return render(request, template, {"q": text, "found": found, "any": any(found.values())})


def find(workspace: Workspace, text: str, most: int) -> dict[str, list[Any]]:
    """Return up to `most` targets, runs and experiments that match; "key:value" or "key=value" asks for a tag."""
    if not text:
        return {"targets": [], "runs": [], "experiments": []}
    targets = ComputeTarget.objects.existing().filter(workspace=workspace)
    runs = Run.objects.filter(workspace=workspace).select_related("experiment", "submitted_by")
    experiments = Experiment.objects.filter(workspace=workspace)
    return {
        "targets": list(_matching(targets, text, "name", "vm_size").order_by("_rank", "name")[:most]),
        "runs": list(_matching(runs, text, "display_name", "run_id").order_by("_rank", "-created_at")[:most]),
        "experiments": list(_matching(experiments, text, "name").order_by("_rank", "name")[:most]),
    }


def _matching(rows: QuerySet[Any], text: str, *fields: str) -> QuerySet[Any]:
    """Return the rows whose fields or tags hold `text`, ranked 0 when the first field begins with it."""
    escaped = json.dumps(text)[1:-1]  # another alphabet may be kept so
    wanted = Q(_tags__icontains=text) | Q(_tags__icontains=escaped)
    for field in fields:
        wanted |= Q(**{f"{field}__icontains": text})
    key, mark, value = text.replace("=", ":", 1).partition(":")
    if mark and key.strip() and "__" not in key:
        rows = rows.alias(_value=Cast(KT(f"tags__{key.strip()}"), TextField()))
        wanted |= Q(_value=value.strip())
    begins = Case(When(**{f"{fields[0]}__istartswith": text}, then=Value(0)), default=Value(1))
    found: QuerySet[Any] = rows.alias(_tags=Cast("tags", TextField())).filter(wanted).alias(_rank=begins)
    return found
