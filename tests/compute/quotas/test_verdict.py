"""What is said of a request before it is made: a bar in cores, and one sentence with the way out."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from compute import sizes
from compute.quotas.verdict import Level, verdict
from compute.states import Priority
from studio.errors import QuotaExceeded
from studio.people.models import Workspace
from tests.compute.clusters import make_cluster
from tests.compute.quotas.accounts import hold, limit

pytestmark = pytest.mark.django_db
NC6S, D2 = "Standard_NC6s_v3", "Standard_D2_v2"


def say(workspace: Workspace, size: str = NC6S, priority: str = Priority.DEDICATED, **asked: Any) -> Any:
    return verdict(workspace, sizes.by_name(size), priority, **asked)


def test_the_sentence_names_all_three_and_the_ways_out(
    workspace: Workspace, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    limit(24, "standardncv3family"), limit(100), limit(62, priority=Priority.LOW_PRIORITY)
    gpus = make_cluster(workspace, "gpus", vm_size=NC6S)
    hold(gpus, 9)  # 18 cores
    with django_assert_num_queries(2):
        said = say(workspace, max_nodes=8)
    assert (said.level, said.used, said.asked, said.left, said.limit, said.most_nodes) == ("warns", 18, 48, 6, 24, 1)
    assert said.text == (
        "6 of 24 NCsv3 cores left; this needs 48. "
        "Lower maximum nodes to 1, choose low priority (62 left), or ask for more."
    )
    said.enforce()  # a maximum above the quota warns, and no more
    assert say(workspace, max_nodes=1).level == Level.FITS
    refused = say(workspace, min_nodes=2, max_nodes=8)
    assert refused.text.startswith("6 of 24 NCsv3 cores left; this needs 12. Lower minimum nodes to 1,")
    with pytest.raises(QuotaExceeded) as error:
        refused.enforce()
    assert (error.value.asked, error.value.used, error.value.limit) == (12, 18, 24)


def test_without_a_row_nothing_is_limited_and_with_none_of_it_nothing_fits(workspace: Workspace) -> None:
    said = say(workspace, max_nodes=8)
    assert (said.level, said.limit, said.left) == (Level.FITS, None, None)
    assert said.sentence == "No limit is set for NCsv3 cores; this takes 48."
    limit(0, "standardncv3family")
    said = say(workspace, max_nodes=8)
    assert said.refuses
    assert said.text == "0 of 0 NCsv3 cores left; this needs 6. Choose low priority (no limit), or ask for more."
    assert say(workspace, D2, max_nodes=8).level == Level.FITS


def test_full_for_now_is_no_reason_to_refuse_a_cluster_that_keeps_nothing(workspace: Workspace) -> None:
    limit(8)
    cluster = make_cluster(workspace)
    hold(cluster, 4)
    assert say(workspace, D2, max_nodes=2).level == Level.WARNS
    assert say(workspace, D2, min_nodes=1, max_nodes=2).level == Level.REFUSES
    # What it holds itself does not count against a cluster that is resized, or a run on it.
    assert say(workspace, D2, min_nodes=4, max_nodes=4, target=cluster).level == Level.FITS
    assert say(workspace, D2, node_count=4, target=cluster).level == Level.FITS
    waits = say(workspace, D2, node_count=3)
    assert waits.level == Level.WARNS
    assert waits.hint == "It waits until they are free; or ask for more."
    assert say(workspace, D2, node_count=5).refuses


def test_what_minimums_keep_is_not_promised_twice(workspace: Workspace) -> None:
    limit(8, workspace=workspace)
    make_cluster(workspace, min_nodes=3)  # none of them is up yet
    assert say(workspace, D2, min_nodes=1, max_nodes=1).level == Level.FITS
    assert say(workspace, D2, min_nodes=2, max_nodes=2).level == Level.REFUSES
    assert "of vision-team left" in say(workspace, D2, min_nodes=2, max_nodes=2).sentence
