"""Requests for more: what was blocked, by which limit, who asks, and what is answered."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, override

from compute import sizes
from compute.models import ComputeTarget, Job
from compute.quotas.actions import Status, Wanted, may_edit, set_limits
from compute.quotas.bounds import Bound, cores_said, headroom
from compute.quotas.models import MOST_CORES, Limit, QuotaRequest, RequestState, Scope
from compute.quotas.verdict import verdict
from compute.states import Priority
from studio.errors import NeedsRight, NotAllowedNow
from studio.http import id_in
from studio.live import nudge
from studio.notifications.actions import announce, members_with
from studio.notifications.events import About, Event
from studio.people.actions import note, team_of
from studio.people.models import User, Workspace
from studio.people.permissions import Right, require

LONGEST_BACK = 8000  # characters of a path
NAME = re.compile(r"[\w.-]+", re.ASCII)
ASKED = gettext_noop("%(who)s asks for %(asked)d %(cores)s; the limit is %(limit)d.")
GRANTED = gettext_noop("%(who)s raised the limit of %(cores)s to %(granted)d.")
REFUSED = gettext_noop("%(who)s declined the request for %(asked)d %(cores)s.")


def _name(text: str, longest: int) -> str:
    """Return a name that can stand in an address; empty for whatever is none."""
    return text if len(text) <= longest and NAME.fullmatch(text) else ""


@dataclass(frozen=True)
class Blocked:
    """What a limit stood in the way of: a cluster, a resize, a run, or nothing in particular of a family."""

    size: str = ""
    family: str = ""  # where no size is meant
    priority: str = Priority.DEDICATED
    min_nodes: int = 0
    max_nodes: int = 0
    node_count: int = 0  # of a run
    target: str = ""  # the cluster that is resized or run on
    run: str = ""  # the id of one that waits already

    @classmethod
    def of(cls, query: QueryDict) -> "Blocked":
        """Read it from what a link or a form carries; what makes no sense is as if it was not said."""
        size = sizes.find(query.get("size", "")[:80])
        family = sizes.family_key(query.get("family", "")[:80])
        low = query.get("priority") == Priority.LOW_PRIORITY
        numbers = {name: min(id_in(query.get(name, "")), 10_000) for name in ("min_nodes", "max_nodes", "node_count")}
        return cls(
            size=size.name if size else "",
            family=size.family_key if size else family if family in sizes.families() or family == "*" else "*",
            priority=Priority.LOW_PRIORITY if low else Priority.DEDICATED,
            target=_name(query.get("target", ""), 24),
            run=_name(query.get("run", ""), 300),
            **numbers,
        )

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def nodes(self) -> str:
        """Return how many nodes were asked for: "4", "1 – 8"; empty where that is not what it is about."""
        return str(self.node_count) if self.node_count else f"{self.min_nodes} – {self.max_nodes}" if self.size else ""

    @property
    def cores(self) -> int:
        size = sizes.find(self.size)
        return (self.node_count or self.max_nodes or 1) * size.vcpus if size else 0


@dataclass(frozen=True)
class Obstacle:
    """The limit that leaves least for what was blocked, what is needed of it, and the sentence that says so."""

    bound: Bound
    needed: int  # that the limit would have to be
    said: str


def ask_url(workspace: Workspace, *, back: str = "", **blocked: Any) -> str:
    """Return the address at which one asks for more, with what is blocked (see Blocked) attached."""
    back = back if len(back) <= LONGEST_BACK else back.partition("?")[0]
    given = {name: value for name, value in {**blocked, "back": back}.items() if value}
    return f"{reverse('compute:ask_quota', args=[workspace.name])}?{urlencode(given)}"


def safe_back(workspace: Workspace, path: str) -> str:
    """Return a path of a page of this workspace; empty for whatever is none."""
    inside = path.startswith(f"/w/{workspace.name}/") and len(path) <= LONGEST_BACK and path.isprintable()
    return path if inside and url_has_allowed_host_and_scheme(path, None) else ""


def obstacle(workspace: Workspace, blocked: Blocked, person: User) -> Obstacle | None:
    """Return what stands in the way of it; None: no limit is set."""
    team = team_of(workspace, person)
    if blocked.run:  # whose run it is decides whose limits stand in its way
        jobs = Job.objects.filter(target__workspace=workspace, run_id=blocked.run).select_related(
            "submitted_by", "team"
        )
        if (job := jobs.order_by("-pk").first()) and job.submitted_by:
            person, team = job.submitted_by, job.team
    size = sizes.find(blocked.size)
    if size is None:
        bound = headroom(workspace, blocked.family, blocked.priority, person=person, team=team).tightest
        return Obstacle(bound, bound.limit + 1, "") if bound else None
    target = ComputeTarget.objects.existing().filter(workspace=workspace, name=blocked.target).first()
    asked: dict[str, Any] = {"min_nodes": blocked.min_nodes, "max_nodes": max(1, blocked.min_nodes, blocked.max_nodes)}
    if blocked.node_count:
        asked = {"node_count": blocked.node_count, "person": person, "team": team}
    found = verdict(workspace, size, blocked.priority, target=target, **asked)
    if found.bound is None:
        return None
    # Not what the reader's language makes of it: it is stored, and shown to others in theirs.
    with override("en"):
        said = verdict(workspace, size, blocked.priority, target=target, **asked).sentence
    return Obstacle(found.bound, max(found.used + found.asked, found.bound.limit + 1), said)


@transaction.atomic
def ask(workspace: Workspace, blocked: Blocked, *, cores: int, reason: str, back: str, by: User) -> QuotaRequest:
    """Ask for a limit of `cores` where one stands in the way; the same again changes the request there is.

    Raises NeedsRight; NotAllowedNow where no limit is in the way, or it is that high already.
    """
    require(by, Right.ASK_QUOTA, workspace)
    Workspace.objects.select_for_update().get(pk=workspace.pk)
    found = obstacle(workspace, blocked, by)
    if found is None:
        raise NotAllowedNow(_("No limit stands in the way of this."), _("Go back, and try again."))
    bound = found.bound
    if not bound.limit < cores <= MOST_CORES:
        said = _("The limit is %(limit)d cores already; ask for more than that, %(most)d at most.")
        raise NotAllowedNow(said % {"limit": bound.limit, "most": MOST_CORES}, _("Type a higher number."))
    which = {
        "scope": bound.scope, "team_id": bound.team_id, "person_id": bound.person_id,
        "family": bound.family, "priority": bound.priority,
    }  # fmt: skip
    facts = {
        "cores": cores, "reason": reason.strip()[:1000], "limit_was": bound.limit, "blocked": blocked.facts(),
        "said": found.said[:500], "back": safe_back(workspace, back),
    }  # fmt: skip
    one = QuotaRequest.objects.open().filter(workspace=workspace, asked_by=by, **which).first()
    if one is not None:
        was = {"cores": one.cores, "reason": one.reason}
        for name, value in facts.items():
            setattr(one, name, value)
        one.save()
        if was != {"cores": one.cores, "reason": one.reason}:
            _note(one, by, "quota.ask", {"before": was, "after": {"cores": one.cores, "reason": one.reason}})
        _moved(one)
        return one
    one = QuotaRequest.objects.create(workspace=workspace, asked_by=by, **which, **facts)
    _note(one, by, "quota.ask", {"before": None, "after": {"cores": cores, "reason": one.reason}})
    with override("en"):
        title = ASKED % {"who": by.username, "asked": cores, "cores": said_of(one), "limit": bound.limit}
    about = About(title, one.reason or one.said, path=path_of(one), data={"cores": cores, "family": bound.family})
    announce(workspace, Event.QUOTA_REQUESTED, about=about, to=who_answer(one))
    _moved(one)
    return one


@transaction.atomic
def approve(request: QuotaRequest, *, cores: int, by: User, answer: str = "", version: int | None = None) -> None:
    """Raise the limit to `cores`, and say so.

    `version`: of the limit that was shown. Raises NeedsRight; NotAllowedNow when it was answered already, when
    somebody changed the limit meanwhile, or when the limit cannot be so high.
    """
    request = _open(request)
    may_edit(limited_workspace(request), by)
    limit = limit_of(request)
    if limit is None or limit.cores is None:
        cores, version = 0, None  # there is none any more: nothing has to be raised
    elif cores < limit.cores:
        said = _("The limit is %(limit)d cores; approving raises it.") % {"limit": limit.cores}
        raise NotAllowedNow(said, _("Type a higher number, or decline the request."))
    else:
        wanted = Wanted(
            request.family, cores, request.priority, limit.guaranteed, limited_workspace(request),
            request.team, request.person, version,
        )  # fmt: skip
        (outcome,) = set_limits([wanted], by=by)
        if outcome.status != Status.SUCCESS:
            raise NotAllowedNow(outcome.message, _("Type another number, or raise the other limit first."))
    _answer(request, RequestState.APPROVED, by, answer, granted=cores or None)
    facts = {"who": by.username, "cores": _in_english(request), "granted": cores}
    _tell(request, GRANTED % facts, answer)


@transaction.atomic
def decline(request: QuotaRequest, *, answer: str, by: User) -> None:
    """Decline a request, with the reason why. Raises NeedsRight; NotAllowedNow without one, or when it is answered."""
    request = _open(request)
    may_edit(limited_workspace(request), by)
    if not answer.strip():
        raise NotAllowedNow(_("Say why it is declined."), _("Whoever asked reads it."))
    _answer(request, RequestState.DECLINED, by, answer)
    _tell(request, REFUSED % {"who": by.username, "asked": request.cores, "cores": _in_english(request)}, answer)


@transaction.atomic
def withdraw(request: QuotaRequest, *, by: User) -> None:
    """Take a request back; whoever made it may. Raises NeedsRight; NotAllowedNow when it is answered."""
    request = _open(request)
    if request.asked_by_id != by.pk:
        raise NeedsRight(_("Only who asked can withdraw a request."), _("Decline it, if you may answer it."))
    _answer(request, RequestState.WITHDRAWN, by, "")


def limited_workspace(request: QuotaRequest) -> Workspace | None:
    """Return the workspace whose limit it is about; None: the whole studio's."""
    return None if request.scope == Scope.STUDIO else request.workspace


def limit_of(request: QuotaRequest) -> Limit | None:
    """Return the limit it is about, as it is now."""
    found = Limit.objects.of(limited_workspace(request), team=request.team, person=request.person)
    return found.filter(family=request.family, priority=request.priority).first()


def said_of(request: QuotaRequest) -> str:
    """Return which cores it is about, as part of a sentence."""
    return cores_said(request.family, request.priority, str(request.person or request.team or _whose(request)))


def path_of(request: QuotaRequest) -> str:
    return reverse("compute:quota_request", args=[request.workspace.name, request.pk])


def who_answer(request: QuotaRequest) -> list[User]:
    """Return whom to tell of it."""
    if request.scope == Scope.STUDIO:
        return list(User.objects.filter(is_superuser=True, is_active=True))
    return members_with(request.workspace, Right.EDIT_QUOTA)


def _whose(request: QuotaRequest) -> str:
    return "" if request.scope == Scope.STUDIO else request.workspace.name


def _in_english(request: QuotaRequest) -> str:
    with override("en"):
        return said_of(request)


def _open(request: QuotaRequest) -> QuotaRequest:
    found = (
        QuotaRequest.objects.select_for_update(of=("self",))
        .select_related("workspace", "asked_by", "answered_by", "team", "person")
        .get(pk=request.pk)
    )
    if found.state != RequestState.OPEN:
        who = found.answered_by.username if found.answered_by else _("Somebody")
        said = _("This request is closed already: %(who)s, %(state)s.")
        raise NotAllowedNow(said % {"who": who, "state": RequestState(found.state).label}, _("Look at it again."))
    return found


def _answer(request: QuotaRequest, state: RequestState, by: User, answer: str, granted: int | None = None) -> None:
    request.state, request.answered_by, request.answered_at = state, by, timezone.now()
    request.answer, request.granted = answer.strip()[:1000], granted
    request.save()
    verbs = {"approved": "quota.approve", "declined": "quota.decline", "withdrawn": "quota.withdraw"}
    _note(request, by, verbs[state], {"answer": request.answer, "cores": granted or request.cores})
    _moved(request)


def _note(request: QuotaRequest, by: User, verb: str, detail: dict[str, Any]) -> None:
    note(request.workspace, by, verb, request, kind="quota", name=_in_english(request), detail=detail)


def _tell(request: QuotaRequest, title: str, answer: str) -> None:
    about = About(title, answer.strip(), path=path_of(request), data={"state": request.state})
    to = [request.asked_by] if request.asked_by else []
    announce(request.workspace, Event.QUOTA_ANSWERED, about=about, to=to)


def _moved(request: QuotaRequest) -> None:
    spaces = Workspace.objects.filter(pk=request.workspace_id)
    if request.scope == Scope.STUDIO:
        spaces |= Workspace.objects.filter(memberships__user__is_superuser=True)
    for space in spaces.distinct():
        nudge(space.group, "quota:moved", id=request.pk)
