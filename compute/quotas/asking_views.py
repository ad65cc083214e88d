"""The pages of requests for more: asking, looking, answering."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from compute import sizes
from compute.quotas import asking
from compute.quotas.actions import may_edit
from compute.quotas.asking import Blocked
from compute.quotas.forms import AnswerForm, AskForm
from compute.quotas.models import QuotaRequest, RequestState, Scope
from studio.errors import NotAllowedNow, NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require

A_PAGE = 50


@require_safe
def quota_requests(request: StudioRequest) -> HttpResponse:
    """List the requests that this person may see, those that wait first."""
    seen = _seen(request)
    page = Paginator(seen.exclude(state=RequestState.OPEN), A_PAGE).get_page(request.GET.get("page"))
    waiting = list(seen.open()[:A_PAGE])
    may_answer = set(QuotaRequest.objects.open().answerable_by(request.user, request.workspace).values_list("pk"))
    context = {
        "nav": "quotas",
        "tab": "requests",
        "waiting": [(one, asking.said_of(one), (one.pk,) in may_answer) for one in waiting],
        "answered": [(one, asking.said_of(one), False) for one in page],
        "page": page,
    }
    template = "compute/_quota_request_table.html" if wants_partial(request) else "compute/quota_request_list.html"
    return render(request, template, context)


@require_http_methods(["GET", "HEAD", "POST"])
def ask_quota(request: StudioRequest) -> HttpResponse:
    """Show what is blocked, and by what; or ask for more."""
    require(request.user, Right.ASK_QUOTA, request.workspace)
    given = request.POST if request.method == "POST" else request.GET
    blocked = Blocked.of(given)
    back = asking.safe_back(request.workspace, given.get("back", ""))
    found = asking.obstacle(request.workspace, blocked, request.user)
    form = AskForm(request.POST or None, initial={"cores": found.needed} if found else {}, auto_id="ask_%s")
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        try:
            one = asking.ask(
                request.workspace, blocked, cores=said["cores"], reason=said["reason"], back=back, by=request.user
            )
        except NotAllowedNow as exc:
            form.add_error("cores", f"{exc.message} {exc.hint}")
        else:
            messages.success(request, _("You asked for more. Whoever may answer is told, and you will be."))
            return redirect("compute:quota_request", workspace=request.workspace.name, pk=one.pk)
    context = {
        "nav": "quotas",
        "form": form,
        "blocked": blocked,
        "size": sizes.find(blocked.size),
        "found": found,
        "back": back,
        "carried": [(name, str(value)) for name, value in blocked.facts().items()] + [("back", back)],
    }
    status = 422 if form.is_bound else 200
    return render(request, "compute/quota_request_new.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def quota_request(request: StudioRequest, pk: int) -> HttpResponse:
    """Show a request and what became of it; or answer it, or take it back (`action`)."""
    one = _seen(request).select_related("workspace", "team", "person").filter(pk=pk).first()
    if one is None:
        raise NotThere
    limit = asking.limit_of(one)
    initial = {"cores": one.cores, "version": limit.version if limit else ""}
    form = AnswerForm(request.POST or None, initial=initial, auto_id="answer_%s")
    if request.method == "POST":
        action = request.POST.get("action", "")
        if action == "withdraw":
            asking.withdraw(one, by=request.user)
            messages.success(request, _("Your request was withdrawn."))
            return redirect("compute:quota_requests", workspace=request.workspace.name)
        may_edit(asking.limited_workspace(one), request.user)
        if form.is_valid() and _answered(request, one, form, action):
            return redirect("compute:quota_requests", workspace=request.workspace.name)
    context = _context(request, one, form)
    part = wants_partial(request) and request.method != "POST"
    template = "compute/_quota_request.html" if part else "compute/quota_request_detail.html"
    return render(request, template, context, status=422 if form.is_bound else 200)


def _answered(request: StudioRequest, one: QuotaRequest, form: AnswerForm, action: str) -> bool:
    """Do what the answer says; False when something was wrong, which then stands by its field."""
    said = form.cleaned_data
    field = "cores" if action == "approve" else "answer"
    try:
        if action == "approve":
            if said["cores"] is None:
                raise NotAllowedNow(_("Say how many cores the limit becomes."))
            asking.approve(one, cores=said["cores"], by=request.user, answer=said["answer"], version=said["version"])
            messages.success(request, _("Approved: the limit is raised, and whoever asked is told."))
        elif action == "decline":
            asking.decline(one, answer=said["answer"], by=request.user)
            messages.success(request, _("Declined: whoever asked is told why."))
        else:
            raise NotAllowedNow(_("A request is approved, declined or withdrawn."))
    except NotAllowedNow as exc:
        form.add_error(field, f"{exc.message} {exc.hint}".strip())
        return False
    return True


def _context(request: StudioRequest, one: QuotaRequest, form: AnswerForm) -> dict[str, Any]:
    blocked = Blocked(**one.blocked)
    answerable = QuotaRequest.objects.answerable_by(request.user, request.workspace).filter(pk=one.pk).exists()
    limit = asking.limit_of(one)
    return {
        "nav": "quotas",
        "one": one,
        "cores_said": asking.said_of(one),
        "blocked": blocked,
        "limit": limit,
        "form": form,
        "version": limit.version if limit else "",
        "may_answer": answerable,
        "is_mine": one.asked_by_id == request.user.pk,
        "is_of_studio": one.scope == Scope.STUDIO,
    }


def _seen(request: StudioRequest) -> Any:
    seen = QuotaRequest.objects.for_user(request.user, request.workspace)
    return seen.select_related("workspace", "asked_by", "answered_by", "team", "person")
