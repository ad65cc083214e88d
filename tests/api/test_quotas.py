"""Limits for programs: each sees what applies to them, and nobody what others use without the right to see that."""

import pytest

from compute.quotas.models import ALL, Limit
from studio.people.models import Team
from studio.people.permissions import Role


@pytest.mark.parametrize(("role", "sees_all"), [(Role.READER, False), (Role.DATA_SCIENTIST, False), (Role.OWNER, True)])
def test_limits_of_other_people_and_teams_are_for_who_sees_their_usage(program, workspace, member, role, sees_all):
    me, other = member("me", role), member("other", Role.DATA_SCIENTIST)
    mine, theirs = (Team.objects.create(workspace=workspace, name=name) for name in ("mine", "theirs"))
    workspace.memberships.filter(user=me).update(team=mine)
    Limit.objects.create(workspace=None, family=ALL, cores=100)
    Limit.objects.create(workspace=workspace, family=ALL, cores=50)
    for whose in ({"person": me}, {"person": other}, {"team": mine}, {"team": theirs}):
        Limit.objects.create(workspace=workspace, family=ALL, cores=10, **whose)
    found = {(one["scope"], one["who"]) for one in program(me).get("quotas/limits").json()["items"]}
    own = {("subscription", ""), ("workspace", workspace.name), ("team", "mine"), ("person", "me")}
    assert found == own | ({("team", "theirs"), ("person", "other")} if sees_all else set())
