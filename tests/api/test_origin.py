"""What a program does by a token is told with the token's name and the program's address."""

from collections.abc import Callable

from runs.models import Experiment
from studio.people.models import Activity, User, Workspace
from tests.api.conftest import Program


def test_what_a_program_does_says_by_which_token(
    workspace: Workspace, ben: User, program: Callable[..., Program]
) -> None:
    Experiment.objects.create(workspace=workspace, name="digits", created_by=ben)
    answer = program(ben).ask("PATCH", "experiments/digits", {"description": "by a program"})
    assert answer.status_code == 200, answer.content
    entry = Activity.objects.latest("pk")
    assert (entry.verb, entry.actor, entry.way, entry.token) == ("experiment.edit", ben, "token", "program")
    assert entry.address == "127.0.0.1"
