"""What can be done with an attached target's connection: look again, accept a new host key, detach."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from compute import attaching
from compute.detail_views import target_of
from compute.drivers.base import Attaches
from compute.models import Job
from studio.http import StudioRequest
from studio.people.permissions import Right, require


@require_POST
def look_again(request: StudioRequest, name: str) -> HttpResponse:
    """Have the connection doctor look at an attached target."""
    require(request.user, Right.ATTACH_COMPUTE, request.workspace)
    target = target_of(request, name)
    target.able(Attaches)
    attaching.look_again(target, by=request.user)
    return _to_connection(request, name)


@require_POST
def accept_host_key(request: StudioRequest, name: str) -> HttpResponse:
    """Pin the new host key of a target that answered with another one."""
    require(request.user, Right.ATTACH_COMPUTE, request.workspace)
    target = target_of(request, name)
    target.able(Attaches)
    attaching.accept_host_key(target, request.POST.get("sha256", ""), by=request.user)
    messages.success(request, _("The new host key of %(name)s is pinned; its runs go on.") % {"name": target.name})
    return _to_connection(request, name)


@require_http_methods(["GET", "HEAD", "POST"])
def detach_target(request: StudioRequest, name: str) -> HttpResponse:
    """Ask before a target is detached, for its name while runs are active; then detach it."""
    target = target_of(request, name)
    target.able(Attaches)
    active = Job.objects.active().filter(target=target).count()
    wrong = ""
    if request.method == "POST":
        require(request.user, Right.ATTACH_COMPUTE, request.workspace)
        if not active or request.POST.get("confirm", "").strip() == target.name:
            attaching.detach(target, by=request.user)
            messages.success(request, _("%(name)s is detached; the machine itself runs on.") % {"name": target.name})
            return HttpResponseRedirect(f"{reverse('compute:list', args=[request.workspace.name])}?tab=attached")
        wrong = _("Type %(name)s to say that you mean it.") % {"name": target.name}
    context = {"nav": "compute", "target": target, "active": active, "wrong": wrong}
    return render(request, "compute/target_detach.html", context, status=422 if wrong else 200)


def _to_connection(request: StudioRequest, name: str) -> HttpResponse:
    url = redirect("compute:detail", workspace=request.workspace.name, name=name)
    url["Location"] += "?tab=connection"
    return url
