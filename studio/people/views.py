"""Pages of people: their own, the members of a workspace, and signing in by a link."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.utils import perform_login
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studio.errors import NotThere
from studio.http import StudioRequest, id_in
from studio.people import actions, second_step
from studio.people.forms import MemberForm, NewAccountForm, ProfileForm, TeamForm
from studio.people.models import Invitation, Membership, SignInLink, Team, User
from studio.people.permissions import TABLE, Right, Role, may, require
from studio.people.throttle import throttle
from studio.people.words import rights_in_words

BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Offer to sign in; only the press of the button uses the link up, so that a preview of it does not."""
    throttle(request, "open_link")
    person = SignInLink.redeem(token) if request.method == "POST" else SignInLink.person_of(token)
    if person is None or request.method != "POST":
        status = 200 if person else 410
        return render(request, "people/sign_in_by_link.html", {"person": person}, status=status)
    is_linked = SocialAccount.objects.filter(user=person).exists()
    wanted = "start" if person.has_usable_password() or is_linked else "account_set_password"
    answer: HttpResponse = perform_login(request, person, redirect_url=reverse(wanted))
    return answer  # to the second step, where there is one


@never_cache
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Let somebody who was invited in: with the account they are signed in to, or with a new one."""
    throttle(request, "open_link")
    invitation = Invitation.objects.of(token)
    if invitation is None:
        return render(request, "people/join.html", {"invitation": None}, status=410)
    workspace, person = invitation.workspace, request.user
    facts: dict[str, Any] = {"invitation": invitation, "role": Role(invitation.role).label}
    if isinstance(person, User):
        if request.method == "POST":
            actions.join(invitation, person)
            messages.success(request, _("Welcome to %(workspace)s.") % {"workspace": workspace.name})
            return redirect("home", workspace=workspace.name)
        facts["is_member"] = workspace.role_of(person) is not None
        return render(request, "people/join.html", facts)
    form = NewAccountForm(invitation, request.POST or None)
    if request.method == "POST" and form.is_valid():
        new = form.save(commit=False)
        actions.join_as_new(invitation, new, form.cleaned_data["password"])
        new.backend = BACKEND
        get_adapter().login(request, new)
        return redirect("home", workspace=workspace.name)
    return render(request, "people/join.html", facts | {"form": form}, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: StudioRequest) -> HttpResponse:
    """Show and change one's own name, address, language and appearance."""
    if request.method == "POST" and "next" in request.POST:
        return _switch_theme(request)
    keep_the_frame(request)
    person = User.objects.get(pk=request.user.pk)  # a form that is refused must not change what the frame shows
    form = ProfileForm(request.POST or None, instance=person)
    if request.method == "POST" and form.is_valid():
        actions.change_profile(form.save(commit=False))
        messages.success(request, _("Your profile is saved."))
        return _remember_language(redirect("profile"), person)
    facts = {
        "form": form,
        "nav": "settings",
        "memberships": request.user.memberships.select_related("workspace").order_by("workspace__name"),
        "sessions": actions.sessions_of(request.user),
        "this_session": request.session.session_key,
        "second_step": second_step.of(request.user, request.get_host()),
    }
    return render(request, "people/profile.html", facts, status=422 if form.is_bound else 200)


@require_POST
def end_session(request: StudioRequest) -> HttpResponse:
    """Sign oneself out elsewhere: of one session (`session=12`), or of every one but this."""
    chosen, here = request.POST.get("session", ""), request.session.session_key or ""
    ended = actions.end_sessions(request.user, only=id_in(chosen) if chosen else None, but=here)
    if chosen and not ended:
        raise NotThere
    said = ngettext("Signed out of %(n)d session.", "Signed out of %(n)d sessions.", ended) % {"n": ended}
    messages.success(request, said if ended else _("You are signed in nowhere else."))
    return redirect(reverse("profile") + "#sessions")


def keep_the_frame(request: StudioRequest) -> None:
    """Show the navigation of the workspace the person came from, on a page that belongs to none."""
    last = request.session.get("workspace", "")
    member = request.user.memberships.select_related("workspace").filter(workspace__name=last).first()
    if member is not None:
        request.workspace, request.membership = member.workspace, member


def _switch_theme(request: StudioRequest) -> HttpResponse:
    """Store the theme that the switch in the top bar chose, and go back to where it was pressed."""
    theme = request.POST.get("theme", "")
    if theme in User.Theme.values:
        User.objects.filter(pk=request.user.pk).update(theme=theme)
    if request.htmx:
        return HttpResponse(status=204)
    back = request.POST["next"]
    ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect(back if ours else "start")


def _remember_language(response: HttpResponse, person: User) -> HttpResponse:
    """Keep the chosen language also for the pages before the next sign-in."""
    if person.language and translation.check_for_language(person.language):
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, person.language, max_age=365 * 86400, samesite="Lax")
    else:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    return response


@require_safe
def members(request: StudioRequest) -> HttpResponse:
    """Show who belongs to the workspace, as what, and what each role may do."""
    return _members(request, MemberForm(request.workspace))


def _members(request: StudioRequest, form: MemberForm, status: int = 200, **more: Any) -> HttpResponse:
    people = list(request.workspace.memberships.select_related("user").order_by("user__username"))
    rights = [(words, [right in TABLE[role] for role in Role]) for right, words in rights_in_words().items()]
    facts = {
        "nav": "members",
        "form": form,
        "people": people,
        "teams": [(team, [m for m in people if m.team_id == team.pk]) for team in request.workspace.teams.all()],
        "team_form": TeamForm(request.workspace),
        "invitations": request.workspace.invitations.pending().select_related("made_by"),
        "roles": Role.choices,
        "role_labels": [role.label for role in Role],
        "rights": rights,
        "can_edit": may(request.user, Right.ASSIGN_ROLES, request.workspace),
    }
    return render(request, "people/members.html", facts | more, status=status)


@never_cache
@require_POST
def add_member(request: StudioRequest) -> HttpResponse:
    """Add somebody known here, or make an invitation and show its link, once."""
    require(request.user, Right.ASSIGN_ROLES, request.workspace)
    form = MemberForm(request.workspace, request.POST)
    if not form.is_valid():
        return _members(request, form, status=422)
    role = Role(form.cleaned_data["role"])
    if form.person is not None:
        actions.set_role(request.workspace, form.person, role, by=request.user)
        messages.success(request, _("%(user)s is a member now.") % {"user": form.person.username})
        return redirect("members", workspace=request.workspace.name)
    invitation, token = actions.invite(request.workspace, form.cleaned_data["who"], role, by=request.user)
    return _with_link(request, invitation, token)


def _with_link(request: StudioRequest, invitation: Invitation, token: str) -> HttpResponse:
    link = settings.PUBLIC_URL.rstrip("/") + reverse("join", args=[token])
    return _members(request, MemberForm(request.workspace), link=link, invited=invitation)


@never_cache
@require_POST
def edit_invitation(request: StudioRequest, pk: int) -> HttpResponse:
    """Make a new link in place of an invitation's old one (`action=link`), or end it (`action=revoke`)."""
    require(request.user, Right.ASSIGN_ROLES, request.workspace)
    invitation = request.workspace.invitations.select_related("workspace").filter(pk=pk).first()
    if invitation is None:
        raise NotThere
    if request.POST.get("action") == "link":
        return _with_link(request, invitation, actions.invite_again(invitation, by=request.user))
    if request.POST.get("action") == "revoke":
        actions.revoke(invitation, by=request.user)
        messages.success(request, _("The invitation of %(who)s is revoked.") % {"who": invitation.who})
    return redirect("members", workspace=request.workspace.name)


@never_cache
@require_POST
def edit_member(request: StudioRequest, pk: int) -> HttpResponse:
    """Give a member another role or team, or take them out (`action=remove`)."""
    require(request.user, Right.ASSIGN_ROLES, request.workspace)
    member = Membership.objects.filter(workspace=request.workspace, pk=pk).select_related("user").first()
    if member is None:
        raise NotThere
    person, wanted = member.user, request.POST.get("action")
    if wanted == "remove":
        actions.remove_member(request.workspace, person, by=request.user)
        messages.success(request, _("%(user)s is no longer a member.") % {"user": person.username})
        if person == request.user:
            return redirect("start")
    elif "team" in request.POST:
        team = _team(request, request.POST["team"]) if request.POST["team"] else None
        actions.set_team(request.workspace, person, team, by=request.user)
        facts = {"user": person.username, "team": team.name if team else ""}
        messages.success(
            request, (_("%(user)s works in %(team)s now.") if team else _("%(user)s works in no team now.")) % facts
        )
    elif request.POST.get("role") in Role.values:
        role = Role(request.POST["role"])
        actions.set_role(request.workspace, person, role, by=request.user)
        messages.success(request, _("%(user)s is %(role)s now.") % {"user": person.username, "role": role.label})
    return redirect("members", workspace=request.workspace.name)


@never_cache
@require_POST
def make_team(request: StudioRequest) -> HttpResponse:
    """Make a team."""
    require(request.user, Right.ASSIGN_ROLES, request.workspace)
    form = TeamForm(request.workspace, request.POST)
    if not form.is_valid():
        return _members(request, MemberForm(request.workspace), status=422, team_form=form)
    team = actions.make_team(request.workspace, form.cleaned_data["name"], by=request.user)
    messages.success(request, _("The team %(team)s is made. Put people into it below.") % {"team": team.name})
    return _to_teams(request)


@never_cache
@require_POST
def edit_team(request: StudioRequest, pk: int) -> HttpResponse:
    """Rename a team, or delete it (`action=delete`)."""
    require(request.user, Right.ASSIGN_ROLES, request.workspace)
    team = _team(request, str(pk))
    if request.POST.get("action") == "delete":
        actions.delete_team(team, by=request.user)
        messages.success(request, _("The team %(team)s is deleted; its members stay.") % {"team": team.name})
        return _to_teams(request)
    form = TeamForm(request.workspace, request.POST, but=team)
    if not form.is_valid():
        facts = {"renamed": team.pk, "rename_form": form}
        return _members(request, MemberForm(request.workspace), status=422, **facts)
    actions.rename_team(team, form.cleaned_data["name"], by=request.user)
    messages.success(request, _("The team is called %(team)s now.") % {"team": team.name})
    return _to_teams(request)


def _team(request: StudioRequest, pk: str) -> Team:
    found = request.workspace.teams.filter(pk=id_in(pk)).first()
    if found is None:
        raise NotThere(_("This team is not there any more."), _("Look at the list again."))
    return found


def _to_teams(request: StudioRequest) -> HttpResponse:
    return redirect(reverse("members", args=[request.workspace.name]) + "#teams")
