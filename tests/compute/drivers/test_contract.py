"""What every kind of compute target promises. A new kind adds its line to SAMPLES."""

import json
from typing import Any

import pytest
from django.forms import BaseForm

from compute.drivers import DRIVERS, driver_class
from compute.drivers.base import ABILITIES, Attaches, Driver, Executes, Queues
from compute.forms import TargetForm
from compute.models import ComputeTarget
from compute.states import ProvisioningState
from studio.errors import NotSupported
from studio.people.models import Workspace

SAMPLES: dict[str, dict[str, Any]] = {
    "AmlCompute": {"vm_size": "Standard_D1_v2", "vm_priority": "Dedicated", "min_nodes": 0, "max_nodes": 2},
    "local": {},
    "Batch": {
        "config": {"subscription_id": "", "resource_group": "vision", "account_name": "crunch", "resource_id": ""}
    },
    "DataLakeAnalytics": {
        "config": {"subscription_id": "", "resource_group": "vision", "account_name": "lake", "resource_id": ""}
    },
    "Databricks": {"config": {"url": "https://adb-1.2.azuredatabricks.invalid", "expires": ""}},
    "HDInsight": {
        "config": {
            "address": "spark-ssh.invalid",
            "ssh_port": 22,
            "username": "sshuser",
            "authentication": "password",
        }
    },
    "VirtualMachine": {
        "config": {
            "address": "gpu-7.invalid",
            "ssh_port": 22,
            "username": "ana",
            "authentication": "password",
            "environment": "system",
            "python": "python3",
        }
    },
}


@pytest.fixture(params=list(DRIVERS))
def target(request: Any, workspace: Workspace) -> ComputeTarget:
    kind = request.param
    return ComputeTarget.objects.create(workspace=workspace, name="sample", kind=kind, **SAMPLES[kind])


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(DRIVERS)


def test_a_kind_says_what_it_is_and_what_it_asks_for(target: ComputeTarget) -> None:
    assert target.driver.label
    assert issubclass(target.driver.form, BaseForm)
    assert target.driver.do_not_call_in_templates


def test_its_verbs_follow_from_its_abilities(target: ComputeTarget) -> None:
    driver = target.driver
    for ability in ABILITIES:
        verbs = ability.__abstractmethods__
        assert verbs <= driver.verbs() or not isinstance(driver, ability)
        if not isinstance(driver, ability):
            with pytest.raises(NotSupported):
                target.able(ability)


def test_it_can_be_asked_how_it_is(target: ComputeTarget) -> None:
    assert target.driver.refresh().state in ProvisioningState


def test_what_a_run_may_say_to_it_is_json(target: ComputeTarget) -> None:
    driver = target.driver
    if not isinstance(driver, Attaches) or driver.run_form is None:
        return
    form = driver.run_form({name: str(field.initial or "") for name, field in driver.run_form.base_fields.items()})
    form.is_valid()
    json.dumps(form.cleaned_data)
    assert form.shown_with.keys() <= form.fields.keys()
    assert {on for on, _value in form.shown_with.values()} <= form.fields.keys()


def test_every_kind_runs_jobs_and_a_cluster_queues_them() -> None:
    assert all(issubclass(driver_class(kind), Executes) for kind in DRIVERS)
    assert issubclass(driver_class("AmlCompute"), Queues)


def test_a_class_that_forgets_a_verb_cannot_be_made() -> None:
    class Forgetful(Driver, Executes):
        label = "Forgetful"
        form = TargetForm

        def refresh(self) -> Any: ...

    with pytest.raises(TypeError, match="submit"):
        Forgetful(ComputeTarget())  # type: ignore[abstract]


def test_an_unknown_kind_is_said_to_be_unknown() -> None:
    with pytest.raises(NotSupported, match="Abacus"):
        driver_class("Abacus")


@pytest.mark.parametrize(
    ("kind", "provider"),
    [("VirtualMachine", "Microsoft.Compute/virtualMachines"), ("HDInsight", "Microsoft.HDInsight/clusters")],
)
def test_the_resource_id_of_what_is_azures_is_kept_as_it_was_typed_and_one_of_something_else_is_refused(
    workspace: Workspace, kind: str, provider: str
) -> None:
    form: Any = driver_class(kind).form
    resource = f"/subscriptions/s/resourceGroups/RG/providers/{provider}/one"
    good = form(workspace, {"resource_id": f" {resource} "})
    assert "resource_id" not in good.errors
    assert good.cleaned_data["resource_id"] == resource
    for wrong in (f"{resource}/more", resource.replace("Microsoft", "Contoso"), "/subscriptions/s", "one"):
        bad = form(workspace, {"resource_id": wrong})
        assert "A resource id reads /subscriptions/…" in bad.errors["resource_id"][0]
