"""Names of compute targets: one rule, told clause by clause."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.names import RESERVED, check_identity_id, check_name, suggest, validate
from studio.errors import NotAllowedNow

IDENTITY = (
    "/subscriptions/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/resourcegroups/vision"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader-1"
)


def failed(name: str) -> list[str]:
    return [clause.text for clause in check_name(name) if not clause.ok]


@pytest.mark.parametrize("name", ["cpu-cluster", "abc", "A1-b2", "gpu-4-node", "x" * 24])
def test_good_names_keep_every_clause(name):
    assert failed(name) == []
    validate(name)


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("ab", "3 to 24 characters"),
        ("x" * 25, "3 to 24 characters"),
        ("my_cluster", "Only letters, digits and “-”"),
        ("clúster", "Only letters, digits and “-”"),
        ("١cluster", "Only letters, digits and “-”"),
        ("1cluster", "A letter first"),
        ("cluster-", "A letter or a digit last"),
        ("cpu-cluster-1", "A letter somewhere after each “-”"),
        ("AmlCompute", "Not a reserved word"),
        ("local", "Not a reserved word"),
    ],
)
def test_the_clause_that_fails_is_named(name, clause):
    assert clause in failed(name)
    with pytest.raises(NotAllowedNow) as told:
        validate(name)
    assert clause in told.value.hint


def test_a_line_break_at_the_end_is_no_way_around_the_rule():
    assert failed("cpu-cluster\n")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("cpu-cluster-1", "cpu-cluster1"),
        ("my_cluster", "my-cluster"),
        ("GPU cluster 2", "GPU-cluster2"),
        ("7dwarfs", "dwarfs"),
        ("local", "local2"),
        ("", "cluster"),
        ("cpu-cluster", "cpu-cluster2"),
    ],
)
def test_a_fix_stays_near_to_what_was_typed(name, fix):
    assert suggest(name, taken={"CPU-Cluster"}) == fix


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_ -]{0,30}", fullmatch=True), st.data())
def test_a_fix_always_keeps_the_rule_and_is_free(name, data):
    first = suggest(name, set())
    taken = {first.upper(), *data.draw(st.sets(st.sampled_from(["cluster", first + "2", "cluster2"])))}
    second = suggest(name, taken)
    assert failed(first) == failed(second) == []
    assert second.casefold() not in {other.casefold() for other in taken} | RESERVED


def test_a_good_and_free_name_is_left_as_it_is():
    assert suggest("cpu-cluster", set()) == "cpu-cluster"


@pytest.mark.parametrize(
    "resource_id", [IDENTITY, IDENTITY.replace("resourcegroups", "resourceGroups"), IDENTITY.upper()]
)
def test_an_identity_is_known_by_its_resource_id_in_any_case(resource_id):
    assert check_identity_id(resource_id) == ""


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "reader-1",
        IDENTITY + "/extra",
        IDENTITY + "\n",
        IDENTITY.replace("0f1e2d3c-", ""),
        IDENTITY.replace("Managed", ""),
    ],
)
def test_what_is_no_identity_is_told(resource_id):
    assert "not the resource id" in check_identity_id(resource_id)
