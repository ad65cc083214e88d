"""What may be typed for a Spark cluster, and for a run on it."""

from typing import Any

import pytest

from compute.drivers.hdinsight import HDInsightForm, SparkRunForm
from studio.people.models import Workspace


def address_errors(workspace: Workspace, address: str) -> list[str]:
    form = HDInsightForm(workspace, {"name": "spark", "address": address, "ssh_port": "22", "username": "sshuser"})
    form.is_valid()
    return [str(error) for error in form.errors.get("address", [])]


def test_the_address_of_its_pages_is_told_from_that_of_its_head_node(workspace: Workspace) -> None:
    assert address_errors(workspace, "Mine-ssh.azurehdinsight.net") == []
    assert "mine-ssh.azurehdinsight.net" in address_errors(workspace, "mine.azurehdinsight.net")[0]


def test_a_run_says_nothing_and_goes_into_the_cluster() -> None:
    form = SparkRunForm({"mode": "cluster"})
    assert form.is_valid()
    assert {name: said for name, said in form.cleaned_data.items() if said} == {"mode": "cluster"}


def test_what_was_typed_in_many_ways_is_kept_in_one() -> None:
    form = SparkRunForm(
        {
            "mode": "client",
            "packages": " org.apache.spark:spark-avro_2.12:3.3.1\n, com.example:x:1 ",
            "settings": "\nspark.a = 1\nspark.b=x=y\n",
            "executor_memory": " 4g ",
        }
    )
    assert form.is_valid(), form.errors
    said = form.cleaned_data
    assert said["packages"] == "org.apache.spark:spark-avro_2.12:3.3.1,com.example:x:1"
    assert said["settings"] == "spark.a=1\nspark.b=x=y"
    assert said["executor_memory"] == "4g"


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("mode", "yarn"),
        ("executors", "0"),
        ("executors", "many"),
        ("executor_memory", "4 elephants"),
        ("driver_memory", "-1g"),
        ("packages", "https://example.org/x.jar"),
        ("packages", "a:b"),
        ("settings", "spark.a"),
        ("settings", "--conf=x"),
        ("settings", "spark.a=1\x1b[2J"),
        ("settings", "\n".join(f"spark.n{n}=1" for n in range(500))),
    ],
)
def test_what_spark_would_not_take_is_refused_by_its_field(field: str, typed: Any) -> None:
    form = SparkRunForm({"mode": "local"} | {field: typed})
    assert not form.is_valid()
    assert set(form.errors) == {field}
