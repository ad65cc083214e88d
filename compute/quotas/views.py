"""The page of sizes and quota: limits with what is used of them, and what uses it; limits are edited in place."""

from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from compute import sizes
from compute.engines import embedded
from compute.models import ComputeTarget
from compute.prices.price import Prices
from compute.quotas import overview
from compute.quotas.actions import Status, Wanted, may_edit, set_limits
from compute.quotas.asking import ask_url
from compute.quotas.forms import LimitForm
from compute.quotas.models import ALL, Limit, Reservation
from compute.quotas.preview import preview
from compute.states import Priority
from studio.errors import NotThere
from studio.http import StudioRequest, id_in, wants_partial
from studio.people.models import Membership, Team, User, Workspace

MOST_NODES = 100  # of a cluster, one by one


@dataclass(frozen=True)
class Which:
    """The limit that a form is for: "studio", "workspace", or of a team or a person of the workspace."""

    of: str
    workspace: Workspace
    family: str
    priority: str
    team: Team | None = None
    person: User | None = None

    @classmethod
    def asked(cls, request: StudioRequest, given: QueryDict) -> "Which":
        """Read it from a query. Raises NotThere."""
        family, low = sizes.family_key(given.get("family", "*")), given.get("priority") == Priority.LOW_PRIORITY
        kind, _minus, pk = given.get("of", "workspace").partition("-")
        which = cls(
            kind, request.workspace, family, Priority.LOW_PRIORITY if low else Priority.DEDICATED,
            Team.objects.filter(workspace=request.workspace, pk=id_in(pk)).first() if kind == "team" else None,
            _member(request.workspace, id_in(pk)) if kind == "person" else None,
        )  # fmt: skip
        is_one = kind in {"studio", "workspace"} or which.team or which.person
        if not is_one or (family != ALL and family not in sizes.families()):
            raise NotThere
        return which

    @property
    def where(self) -> Workspace | None:
        return None if self.of == "studio" else self.workspace

    @property
    def key(self) -> str:
        pk = self.team.pk if self.team else self.person.pk if self.person else ""
        return f"{self.of}-{pk}" if pk else self.of

    @property
    def slug(self) -> str:
        return f"{self.key}-{'all' if self.family == ALL else self.family}-{self.priority}"

    @property
    def who(self) -> str:
        if self.of == "studio":
            return _("the whole studio")
        return str(self.person or self.team or self.workspace.name)

    def row(self) -> Limit | None:
        found = Limit.objects.of(self.where, team=self.team, person=self.person).select_related("updated_by")
        return found.filter(family=self.family, priority=self.priority).first()

    def wanted(self, said: dict[str, Any]) -> Wanted:
        guaranteed = said.get("guaranteed") if self.team or self.person else None
        return Wanted(
            self.family, said.get("cores"), self.priority, guaranteed, self.where, self.team, self.person,
            said.get("version") or 0,
        )  # fmt: skip


def _member(workspace: Workspace, pk: int) -> User | None:
    member = Membership.objects.select_related("user").filter(workspace=workspace, user=pk).first()
    return member.user if member else None


@require_safe
def quota(request: StudioRequest) -> HttpResponse:
    """Show every limit and what is used of it; `?part=figures`, `?open=` one of them, `?all=1`."""
    found = overview.families(request.workspace)
    shown = found if request.GET.get("all") else [one for one in found if one.is_of_interest]
    if wants_partial(request) and request.GET.get("part") == "figures":
        there = request.GET.get("shown", "").split(",")  # on the page that asks
        return render(request, "compute/_quota_figures.html", {"families": [f for f in found if f.slug in there]})
    opened = request.GET.get("open", "")
    context = {
        "nav": "quotas",
        "tab": "families",
        "families": shown,
        "hidden": len(found) - len(shown),
        "is_admin": request.user.is_superuser,
        "shown": ",".join(one.slug for one in shown),
        "opened": opened,
        "ask": {one.slug: ask_url(request.workspace, family=one.key, priority=one.priority) for one in shown},
    }
    context |= next((_uses(request, one.key, one.priority) for one in shown if one.slug == opened), {})
    return render(request, "compute/quota.html", context)


@require_safe
def quota_uses(request: StudioRequest, family: str, priority: str) -> HttpResponse:
    """Show what uses a family ("all" for the totals), and its sizes."""
    key = ALL if family == "all" else sizes.family_key(family)
    if (key != ALL and key not in sizes.families()) or priority not in Priority.values:
        raise NotThere
    context = _uses(request, key, priority) | {"nav": "quotas", "title": overview.Family(key, priority, []).title}
    template = "compute/_quota_uses.html" if wants_partial(request) else "compute/quota_uses.html"
    return render(request, template, context)


def _uses(request: StudioRequest, family: str, priority: str) -> dict[str, Any]:
    prices, host = Prices(request.workspace), embedded.hosts()[0].pk
    of_family = [size for size in sizes.all_sizes() if size.family_key == family]
    return {
        "parts": overview.parts(request.user, family, priority),
        "sizes": [
            (size, prices.here(host, size.name, priority), prices.in_azure(size.name, priority)) for size in of_family
        ],
    }


@require_safe
def quota_nodes(request: StudioRequest, name: str) -> HttpResponse:
    """Show the nodes of a cluster and the runs on them, as the ledger has them."""
    target = ComputeTarget.objects.existing().filter(workspace=request.workspace, name=name).first()
    if target is None:
        raise NotThere
    held = Reservation.objects.held().filter(target=target).select_related("job", "person").order_by("created_at")
    more = max(0, held.count() - MOST_NODES)
    context = {"nav": "quotas", "title": target.name, "target": target, "held": held[:MOST_NODES], "more": more}
    template = "compute/_quota_nodes.html" if wants_partial(request) else "compute/quota_nodes.html"
    return render(request, template, context)


@require_http_methods(["GET", "HEAD", "POST"])
def limit(request: StudioRequest) -> HttpResponse:
    """Show the form of a limit, say who is affected as it is typed (`?part=preview`), or set it."""
    given = request.POST if request.method == "POST" else request.GET
    which = Which.asked(request, given)
    may_edit(which.where, request.user)
    row = which.row()
    now = {"cores": row.cores if row else None, "guaranteed": row.guaranteed if row else None}
    version = row.version if row else 0
    if request.GET.get("part") == "closed":
        return render(request, "compute/_limit_edit.html", _closed(which) | {"focus": True})
    typed = request.method == "POST" or "cores" in given
    form = LimitForm(given if typed else None, initial=now | {"version": version}, auto_id=f"{which.slug}-%s")
    seen = preview(which.wanted(form.cleaned_data), by=request.user) if typed and form.is_valid() else None
    if request.GET.get("part") == "preview":
        return render(request, "compute/_limit_preview.html", {"seen": seen, "form": form, "which": which})
    if request.method == "POST" and seen and "preview" not in request.POST:
        (outcome,) = set_limits([seen.outcome.wanted], by=request.user)
        if outcome.status == Status.SUCCESS:
            return _saved(request, which)
        seen = replace(seen, outcome=outcome, sentences=[outcome.message])
        if outcome.limit is not None:
            version = outcome.limit.version  # the other's value is shown: saving again is a decision
    context = {"nav": "quotas", "which": which, "form": form, "seen": seen, "version": version, "now": now}
    template = "compute/_limit_form.html" if wants_partial(request) else "compute/quota_limit.html"
    return render(request, template, context, status=422 if request.method == "POST" else 200)


def _closed(which: Which) -> dict[str, Any]:
    return {"of": which.key, "family": which.family, "priority": which.priority, "slug": which.slug, "who": which.who}


def _saved(request: StudioRequest, which: Which) -> HttpResponse:
    if wants_partial(request):
        response = render(request, "compute/_limit_edit.html", _closed(which) | {"focus": True})
        response["HX-Trigger"] = "quota:moved"
        return response
    messages.success(request, _("The limit of %(who)s is set.") % {"who": which.who})
    back = "compute:quota" if which.of in {"studio", "workspace"} else "compute:quota_people"
    return redirect(back, workspace=request.workspace.name)
