"""A run as one JSON document, in the provider's keys.

Source: `Run.get_details()` and the `.runconfig` schema of azureml-core 1.0.74 and 1.61.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from compute.states import Priority
from runs.configuration import RunConfiguration
from runs.models import Run
from runs.states import RunStatus


def run_document(run: Run, *, log_files: dict[str, str], with_values: bool) -> dict[str, Any]:
    """Return what the provider's `get_details()` returns for `run`.

    `log_files` maps a log's name to its address. Without `with_values` the values of environment variables,
    which may be secrets, are left out.
    """
    document: dict[str, Any] = {
        "runId": run.run_id,
        "target": run.target_name,
        "status": run.status,
        "displayName": run.display_name,
        "experimentName": run.experiment.name,
        "runNumber": run.number,
        "createdTimeUtc": _utc(run.created_at),
        "startTimeUtc": _utc(run.started_at),
        "endTimeUtc": _utc(run.ended_at),
        "submittedBy": run.submitted_by.username if run.submitted_by else "",
        "description": run.description,
        "tags": run.tags,
        "properties": run.properties,
        "inputDatasets": [],
        "outputDatasets": [],
        "warnings": [{"message": run.reason}] if run.reason and not run.has_ended else [],
        "runDefinition": definition(run, with_values=with_values),
        "logFiles": log_files,
    }
    if run.status == RunStatus.FAILED:
        document["error"] = {"error": {"code": "UserError", "message": run.reason, "messageFormat": run.hint}}
    return {key: value for key, value in document.items() if value is not None}


def definition(run: Run, *, with_values: bool) -> dict[str, Any]:
    """Return the run configuration in the keys and the order of a `.runconfig` file."""
    config = RunConfiguration.from_json(run.config)
    environment = config.environment
    cluster = run.target if run.target is not None and run.target.vm_size else None
    return {
        "script": config.script,
        "arguments": config.arguments,
        "target": run.target_name,
        "framework": "Python",
        "communicator": "None",
        "maxRunDurationSeconds": config.max_seconds,
        "nodeCount": config.node_count,
        "environment": {
            "environmentVariables": config.variables if with_values else _names_alone(config.variables),
            "python": {
                "userManagedDependencies": environment.kind == "interpreter",
                "interpreterPath": environment.interpreter or "python",
                "condaDependenciesFile": environment.text if environment.kind == "conda" else None,
                "pipRequirements": environment.text if environment.kind == "pip" else None,
            },
            "docker": {"enabled": False},
        },
        "history": {"outputCollection": True, "snapshotProject": True, "directoriesToWatch": ["logs", "outputs"]},
        "amlcompute": {
            "vmSize": cluster.vm_size if cluster else None,
            "vmPriority": cluster.vm_priority if cluster else None,
            "retainCluster": False,
            "name": run.target_name if cluster else None,
            "clusterMaxNodeCount": cluster.max_nodes if cluster else None,
        },
    }


def _names_alone(variables: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(variables, "********")


def _utc(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def priority_label(run: Run) -> str:
    """Return the capacity class of the run's target in words, or an empty string."""
    return str(Priority(run.target.vm_priority).label) if run.target is not None and run.target.vm_priority else ""
