"""The pages of API tokens and of teams: who makes what, and what nobody gets by guessing."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studio.errors import NotAllowedNow
from studio.people.actions import create_workspace, issue_token, make_team, set_team, team_of
from studio.people.models import Activity, ApiToken, Team, User, Workspace
from studio.people.permissions import GRANTABLE, TABLE, Right, Role

AsUser = Callable[[User], Client]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def url(workspace: Workspace) -> str:
    return reverse("tokens", args=[workspace.name])


@pytest.mark.parametrize("role", Role)
def test_each_role_is_offered_what_a_token_of_theirs_may_carry(
    member: Any, as_user: AsUser, url: str, role: Role
) -> None:
    otto = member("otto", role)
    client = as_user(otto)
    page = client.get(url).content.decode()
    offered = set(re.findall(r'name="rights"\s+value="([^"]+)"', page))
    assert offered == {right.value for right in TABLE[role] & GRANTABLE}
    assert ('value="submit"' in page) == (Right.SUBMIT_RUN in TABLE[role])
    too_much = [right for right in Right if right not in TABLE[role] & GRANTABLE]
    for right in too_much[:3]:
        answer = client.post(url, {"name": "x", "preset": "chosen", "rights": right.value, "days": "30"})
        assert answer.status_code == 422
    assert not ApiToken.objects.exists()


def test_a_token_is_shown_once_with_an_example(ben: User, as_user: AsUser, url: str, settings: Any) -> None:
    settings.PUBLIC_URL = "https://studio.example/"
    client = as_user(ben)
    page = client.post(url, {"name": f"sweep {HOSTILE}", "preset": "submit", "days": "7"}).content.decode()
    word = re.findall(r"studio_[\w-]{43}", page)[0]
    example = f"curl -H &quot;Authorization: Bearer {word}&quot; https://studio.example/api/v1/w/vision-team/runs"
    assert example in page.replace('"Authorization', "&quot;Authorization").replace(f'{word}"', f"{word}&quot;")
    person = ApiToken.person_of(word)
    assert person == ben
    assert person.scope is not None
    assert person.scope.rights == {Right.VIEW, Right.SUBMIT_RUN, Right.CANCEL_RUN}
    token = ApiToken.objects.get()
    assert timedelta(days=6) < token.expires_at - timezone.now() < timedelta(days=8)
    later = client.get(url).content.decode()
    assert word not in later
    assert HOSTILE not in page + later
    assert "no-store" in client.get(url)["Cache-Control"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"days": "0"},
        {"days": "366"},
        {"days": "1e3"},
        {"preset": "all"},
        {"preset": ""},
    ],
)
def test_what_is_typed_wrongly_makes_no_token(ben: User, as_user: AsUser, url: str, wrong: dict[str, str]) -> None:
    answer = as_user(ben).post(url, {"name": "x", "preset": "read", "days": "30"} | wrong)
    assert answer.status_code == 422
    assert 'class="errors"' in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_one_sees_and_revokes_ones_own_and_an_owner_everybodys(
    ana: User, ben: User, rita: User, workspace: Workspace, as_user: AsUser, url: str
) -> None:
    bens = issue_token(workspace, ben, "bens-token", set(), days=1)[0]
    anas = issue_token(workspace, ana, "anas-token", set(), days=1)[0]
    other = create_workspace("other-team", ben)
    elsewhere = issue_token(other, ben, "not-of-here", set(), days=1)[0]

    def revoke(who: User, token: ApiToken, space: Workspace = workspace) -> int:
        return as_user(who).post(reverse("revoke_token", args=[space.name, token.pk])).status_code

    page = as_user(ben).get(url).content.decode()
    assert "bens-token" in page
    assert "anas-token" not in page
    assert "not-of-here" not in page
    assert as_user(ben).get(url, {"of": "all"}).status_code == 403
    assert revoke(ben, anas) == revoke(rita, anas) == revoke(rita, bens) == 404
    assert revoke(ana, elsewhere) == revoke(ana, elsewhere, other) == 404
    assert as_user(ana).post(reverse("revoke_token", args=[workspace.name, 999_999])).status_code == 404
    assert ApiToken.objects.working().count() == 3
    page = as_user(ana).get(url, {"of": "all"}).content.decode()
    assert "bens-token" in page
    assert "anas-token" in page
    assert "not-of-here" not in page
    assert revoke(ana, bens) == revoke(ana, bens) == 302
    assert revoke(ana, anas) == 302
    assert list(ApiToken.objects.working()) == [elsewhere]
    assert Activity.objects.filter(verb="token.revoke", object_name="bens-token").count() == 1
    assert "Revoked or too old" in as_user(ben).get(url).content.decode()


def test_who_comes_by_a_token_neither_sees_nor_makes_tokens(
    ana: User, workspace: Workspace, url: str, rf: Any, as_user: AsUser, monkeypatch: Any
) -> None:
    word = issue_token(workspace, ana, "nightly", set(GRANTABLE), days=1)[1]
    scope = ApiToken.objects.get().scope
    monkeypatch.setattr(User, "scope", scope)  # as the door for tokens leaves it
    client = as_user(ana)
    assert word
    assert client.get(url).status_code == client.post(url, {"name": "x"}).status_code == 403
    revoke = reverse("revoke_token", args=[workspace.name, ApiToken.objects.get().pk])
    assert client.post(revoke).status_code == 403
    assert ApiToken.objects.working().count() == 1


# Teams


def test_an_owner_makes_fills_renames_and_deletes_teams(
    ana: User, ben: User, rita: User, workspace: Workspace, as_user: AsUser
) -> None:
    client, page = as_user(ana), reverse("members", args=[workspace.name])

    def post(door: str, /, *args: int, **sent: str) -> Any:
        return client.post(reverse(door, args=[workspace.name, *args]), sent)

    assert post("make_team", name=f" Detection  {HOSTILE} ").status_code == 302
    assert post("make_team", name="Language").status_code == 302
    detection, language = Team.objects.order_by("pk")
    assert detection.name == f"Detection {HOSTILE}"
    for wrong in ("", "  ", "x" * 51, f"detection {HOSTILE}".upper()):
        answer = post("make_team", name=wrong)
        assert answer.status_code == 422
        assert HOSTILE not in answer.content.decode()
    membership = workspace.memberships.get(user=ben)
    assert post("edit_member", membership.pk, team=str(detection.pk)).status_code == 302
    assert post("edit_member", membership.pk, team=str(language.pk)).status_code == 302
    assert team_of(workspace, ben) == language  # and in no other
    assert post("edit_member", membership.pk, team="999999").status_code == 404
    assert post("edit_member", membership.pk, team="²").status_code == 404
    assert post("edit_team", language.pk, name=detection.name).status_code == 422
    assert post("edit_team", language.pk, name="Speech").status_code == 302
    seen = as_user(rita).get(page).content.decode()
    assert "Speech" in seen
    assert HOSTILE not in seen
    assert 'value="Speech"' not in seen  # a Reader reads it
    assert post("edit_team", language.pk, action="delete").status_code == 302
    assert post("edit_team", language.pk, action="delete").status_code == 404
    assert team_of(workspace, ben) is None
    assert post("edit_member", membership.pk, team=str(detection.pk)).status_code == 302
    assert post("edit_member", membership.pk, team="").status_code == 302
    assert team_of(workspace, ben) is None
    noted = Activity.objects.filter(verb__regex=r"^(team|member\.team)").order_by("pk")
    assert [(entry.verb, entry.detail) for entry in noted] == [
        ("team.make", {}),
        ("team.make", {}),
        ("member.team", {"before": None, "after": detection.name}),
        ("member.team", {"before": detection.name, "after": "Language"}),
        ("team.rename", {"before": "Language", "after": "Speech"}),
        ("team.delete", {"members": ["ben"]}),
        ("member.team", {"before": None, "after": detection.name}),
        ("member.team", {"before": detection.name, "after": None}),
    ]


def test_a_team_of_another_workspace_takes_nobody(ana: User, ben: User, workspace: Workspace, as_user: AsUser) -> None:
    theirs = make_team(create_workspace("other-team", ana), "Theirs", by=ana)
    membership = workspace.memberships.get(user=ben)
    client = as_user(ana)
    sent = {"team": str(theirs.pk)}
    assert client.post(reverse("edit_member", args=[workspace.name, membership.pk]), sent).status_code == 404
    assert client.post(reverse("edit_team", args=[workspace.name, theirs.pk]), {"name": "Mine"}).status_code == 404
    with pytest.raises(NotAllowedNow):
        set_team(workspace, ben, theirs, by=ana)
    with pytest.raises(NotAllowedNow):
        make_team(theirs.workspace, "THEIRS", by=ana)
    membership.delete()
    with pytest.raises(NotAllowedNow):
        set_team(workspace, ben, None, by=ana)
