"""Programs read who holds cores, who is invited, what roles may, and whether the activity is whole."""

import json

from compute.models import ComputeTarget
from compute.quotas import ledger
from studio.people.actions import create_workspace, invite
from studio.people.chain import link
from studio.people.models import Activity
from studio.people.permissions import Right, Role
from tests.api.test_answers import problem
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import hold, limit


def test_holders_are_told_down_to_nodes_and_of_other_workspaces_only_how_much(program, ana, ben, cleo, workspace):
    limit(16, workspace=workspace)
    limit(24)
    cluster: ComputeTarget = make_cluster(workspace, "cpu-cluster", min_nodes=2)
    nodes = hold(cluster, 3)
    hidden = create_workspace("secret-lab", cleo)
    hold(make_cluster(hidden, "hidden-cluster"), 2)
    job = make_job(cluster, submitted_by=ben)
    ledger.assign(job, [nodes[0].pk], borrowed=True)
    ours = program(ben)
    of_studio, of_ours = (line for line in ours.get("quotas").json()["items"][:2])
    assert (of_studio["limit"], of_studio["held"], of_studio["free"]) == (24, 10, 14)
    assert (of_ours["limit"], of_ours["held"], of_ours["running"], of_ours["borrowed"]) == (16, 6, 2, 2)
    told = ours.get("quotas/holders")
    mine, others = told.json()["items"]
    assert (mine["workspace"], mine["limit"], mine["held"], mine["borrowed"]) == ("vision-team", 16, 6, 2)
    (one,) = mine["clusters"]
    assert (one["target"], one["nodes"], one["held"], one["kept"]) == ("cpu-cluster", 3, 6, 4)
    assert (others["workspace"], others["held"], others["clusters"]) == (None, 4, [])
    assert "secret-lab" not in told.content.decode()
    assert "hidden-cluster" not in told.content.decode()
    answer = ours.get("quotas/holders/cpu-cluster?limit=2").json()
    held = answer["items"] + ours.get(answer["next"]).json()["items"]
    assert [(row["node"], row["run_id"], row["person"], row["borrowed"]) for row in held] == [
        (nodes[0].node_id, job.run_id, "ben", True),
        (nodes[1].node_id, None, "", False),
        (nodes[2].node_id, None, "", False),
    ]
    problem(ours.get("quotas/holders/hidden-cluster"), 404)
    problem(ours.get("quotas/holders?family=no-such"), 422)


def test_a_token_of_one_workspace_is_told_of_no_other_that_its_person_belongs_to(program, ana, workspace):
    other = create_workspace("second-lab", ana)
    hold(make_cluster(other, "other-cluster"))
    told = program(ana).get("quotas/holders").content.decode()
    assert "second-lab" not in told
    assert "other-cluster" not in told


def test_invitations_tell_no_link_roles_their_rights_and_the_activity_that_it_is_whole(program, ana, workspace):
    _made, word = invite(workspace, "<script>new</script>", Role.READER, by=ana)
    ours = program(ana)
    told = ours.get("invitations").json()["items"]
    assert [(one["who"], one["role"], one["made_by"]) for one in told] == [("<script>new</script>", "Reader", "ana")]
    assert word not in json.dumps(told)
    roles = {one["role"]: one["rights"] for one in ours.get("roles").json()["items"]}
    assert roles["Reader"] == ["view"]
    assert set(roles["Owner"]) == {right.value for right in Right}
    link(workspace.pk)
    said = ours.get("activity/chain").json()
    assert (said["is_whole"], said["why"], said["wrong"]) == (True, "", None)
    assert said["length"] == Activity.objects.filter(workspace=workspace).count()
