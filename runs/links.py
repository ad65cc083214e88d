"""Where runs and experiments have their pages, for whatever tells of them."""

from django.urls import reverse

from runs.models import Experiment, Run
from studio.people.models import Workspace


def runs(workspace: Workspace, ids: list[int]) -> dict[int, str]:
    """Return the addresses of runs by their ids."""
    found = Run.objects.filter(workspace=workspace, pk__in=ids).values_list("pk", "run_id")
    return {pk: reverse("runs:detail", args=[workspace.name, run_id]) for pk, run_id in found}


def experiments(workspace: Workspace, ids: list[int]) -> dict[int, str]:
    """Return the addresses of experiments by their ids."""
    found = Experiment.objects.filter(workspace=workspace, pk__in=ids).values_list("pk", "name")
    return {pk: reverse("runs:experiment", args=[workspace.name, name]) for pk, name in found}
