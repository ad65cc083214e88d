"""API tokens: some of a person's rights in one workspace, shown once, for a while, until revoked."""

from datetime import timedelta

import pytest
from django.utils import timezone

from compute.actions import ensure_local
from compute.models import ComputeTarget
from studio.errors import NeedsRight
from studio.people.actions import create_workspace, issue_token, remove_member, revoke_token, set_role, switch_off
from studio.people.models import Activity, ApiToken, User, Workspace
from studio.people.permissions import GRANTABLE, TABLE, Right, Role, may


def person_of(word: str) -> User:
    """Return whom a token that works stands for."""
    found = ApiToken.person_of(word)
    assert found is not None
    return found


@pytest.fixture
def word(workspace, ana):
    return issue_token(workspace, ana, "nightly", {Right.SUBMIT_RUN}, days=30)[1]


def test_only_a_hash_is_kept_and_making_one_is_written_down(word, workspace, ana):
    token = ApiToken.objects.get()
    assert word not in str([*ApiToken.objects.values(), *Activity.objects.values()])
    noted = Activity.objects.get(verb="token.make")
    assert (noted.actor, noted.object_name, noted.workspace) == (ana, "nightly", workspace)
    assert noted.detail["rights"] == token.rights == ["run.submit", "view"]


@pytest.mark.parametrize("role", Role)
def test_a_token_gives_what_both_its_scope_and_the_role_allow(member, workspace, role):
    otto = member("otto", Role.OWNER)
    for right in GRANTABLE:
        word = issue_token(workspace, otto, right, {right}, days=1)[1]
        set_role(workspace, otto, role, by=otto)
        person = person_of(word)
        assert {it for it in Right if may(person, it, workspace)} == {right, Right.VIEW} & TABLE[role]
        set_role(workspace, otto, Role.OWNER, by=otto)


def test_a_stored_right_that_no_token_may_carry_gives_nothing(word, workspace):
    ApiToken.objects.update(rights=[*Right, "made.up"])
    person = person_of(word)
    assert {right for right in Right if may(person, right, workspace)} == GRANTABLE


def test_a_token_sees_its_workspace_alone(word, workspace, ana):
    other = create_workspace("other-team", ana)
    ensure_local(other)
    local = ensure_local(workspace)
    person = person_of(word)
    assert not any(may(person, right, other) for right in Right)
    assert list(Workspace.objects.for_user(person)) == [workspace]
    assert list(ComputeTarget.objects.for_user(person)) == [local]
    assert set(Workspace.objects.for_user(ana)) == {workspace, other}
    ApiToken.objects.update(rights=["run.submit"])
    assert not Workspace.objects.for_user(ApiToken.person_of(word)).exists()


@pytest.mark.parametrize("right", set(Right) - GRANTABLE)
def test_nobody_makes_a_token_that_rules_over_people_or_safety(workspace, ana, right):
    with pytest.raises(NeedsRight):
        issue_token(workspace, ana, "too much", {right}, days=1)
    assert not ApiToken.objects.exists()


def test_nobody_makes_a_token_of_rights_they_lack(workspace, member, cleo):
    rita = member("rita", Role.READER)
    for person, rights in ((rita, {Right.SUBMIT_RUN}), (cleo, set())):
        with pytest.raises(NeedsRight):
            issue_token(workspace, person, "too much", rights, days=1)


def test_a_token_makes_no_tokens_and_revokes_itself_alone(word, workspace, ana):
    other, _word = issue_token(workspace, ana, "other", set(), days=1)
    person = person_of(word)
    with pytest.raises(ValueError, match="Signed-in"):
        issue_token(workspace, person, "child", set(), days=1)
    with pytest.raises(NeedsRight):
        revoke_token(other, by=person)
    revoke_token(ApiToken.objects.exclude(pk=other.pk).get(), by=person)
    assert ApiToken.person_of(word) is None
    assert list(ApiToken.objects.working()) == [other]


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_a_token_works_for_a_day_at_least_and_a_year_at_most(workspace, ana, days):
    with pytest.raises(ValueError, match="days"):
        issue_token(workspace, ana, "for ever", set(), days=days)


def test_what_is_no_token_too_old_or_of_one_switched_off_opens_nothing(word, workspace, ana, member):
    for wrong in ("", "studio_", word[:-1], word.upper(), ApiToken.objects.get().token_sha256, "ñ\0"):
        assert ApiToken.person_of(wrong) is None
    ApiToken.objects.update(expires_at=timezone.now())
    assert ApiToken.person_of(word) is None
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(days=1))
    assert ApiToken.person_of(word) == ana
    member("otto", Role.OWNER)
    switch_off(ana, by=None)
    assert ApiToken.person_of(word) is None
    assert ApiToken.objects.get().revoked_at


def test_who_leaves_comes_back_without_the_old_tokens(workspace, ana, member):
    otto = member("otto", Role.CONTRIBUTOR)
    word = issue_token(workspace, otto, "nightly", set(), days=1)[1]
    remove_member(workspace, otto, by=ana)
    set_role(workspace, otto, Role.READER, by=ana)
    assert ApiToken.person_of(word) is None


def test_its_person_or_an_owner_revokes_a_token_once(workspace, ana, member, cleo):
    otto, rita = member("otto", Role.CONTRIBUTOR), member("rita", Role.CONTRIBUTOR)
    for by in (otto, ana):
        token, word = issue_token(workspace, otto, "nightly", set(), days=1)
        for other in (rita, cleo):
            with pytest.raises(NeedsRight):
                revoke_token(token, by=other)
        assert ApiToken.person_of(word) == otto
        revoke_token(token, by=by)
        revoke_token(token, by=by)
        assert ApiToken.person_of(word) is None
        assert Activity.objects.filter(verb="token.revoke", actor=by).count() == 1


def test_its_last_use_is_kept_within_a_minute(word):
    assert ApiToken.objects.get().used_at is None
    ApiToken.person_of(word)
    first = ApiToken.objects.get().used_at
    assert first is not None
    ApiToken.person_of(word)
    assert ApiToken.objects.get().used_at == first
    ApiToken.objects.update(used_at=first - ApiToken.USED_WITHIN)
    ApiToken.person_of(word)
    last = ApiToken.objects.get().used_at
    assert last is not None
    assert last >= first
