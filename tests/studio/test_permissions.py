"""The one table of rights, walked."""

import pytest
from django.contrib.auth.models import AnonymousUser

from studio.errors import NeedsRight
from studio.people.permissions import TABLE, Right, Role, may, needed, require, roles_with
from studio.people.words import rights_in_words


@pytest.mark.parametrize("role", Role)
def test_every_role_has_exactly_the_rights_of_the_table(member, workspace, role):
    user = member("otto", role)
    for right in Right:
        assert may(user, right, workspace) == (right in TABLE[role])
        if right in TABLE[role]:
            require(user, right, workspace)
        else:
            with pytest.raises(NeedsRight) as refused:
                require(user, right, workspace)
            assert refused.value.hint == needed(right)


def test_every_right_can_be_had_and_is_said_in_words():
    words = rights_in_words()
    for right in Right:
        assert Role.OWNER in roles_with(right)
        assert words[right]


def test_a_stranger_a_visitor_and_one_switched_off_have_none(workspace, cleo, ben):
    ben.is_active = False
    for user in (cleo, AnonymousUser(), ben):
        assert not any(may(user, right, workspace) for right in Right)


def test_a_stranger_who_may_everything_elsewhere_may_nothing_here(workspace, cleo):
    cleo.is_superuser = True
    assert not any(may(cleo, right, workspace) for right in Right)


def test_what_is_needed_names_the_roles():
    assert "Owner" in needed(Right.ASSIGN_ROLES)
    assert "Data Scientist, Contributor or Owner" in needed(Right.SUBMIT_RUN)
