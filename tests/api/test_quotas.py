"""Limits that programs set."""

import pytest

from compute.quotas.models import Limit


@pytest.mark.parametrize("cores", [-1, 1.5, 10**30, True, "12", "many", [], float("nan"), 10**7 + 1])
def test_what_is_no_number_of_cores_sets_no_limit(program, ana, as_user, workspace, cores):
    browser = as_user(ana)  # no token sets limits
    sent = {"limits": [{"family": "*", "cores": cores}]}
    answer = browser.put(f"/api/v1/w/{workspace.name}/quotas/limits", sent, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("limits.0.cores")
    assert not Limit.objects.exists()


def test_the_later_of_two_is_told_what_the_other_set(ana, ben, as_user, workspace):
    workspace.memberships.filter(user=ben).update(role="Owner")
    answers = []
    for person, cores in ((ana, 24), (ben, 48)):  # both saw none
        sent = {"limits": [{"family": "*", "cores": cores, "version": 0}]}
        url = f"/api/v1/w/{workspace.name}/quotas/limits"
        answers += as_user(person).put(url, sent, content_type="application/json").json()["items"]
    assert [one["status"] for one in answers] == ["Success", "Failure"]
    assert "ana set it to 24 meanwhile" in answers[1]["message"]
    assert (answers[1]["cores"], answers[1]["version"]) == (24, 1)
