"""The API under schemathesis: every operation, as every role and as a stranger, with what is valid and what is not.

Counted are answers of 5xx, answers that the OpenAPI document does not know, and changes by who lacks the right. A
process of its own fills a database and asks through the whole middleware.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.bench.figures import Samples
from studio.bench.list_p95_s import queue
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

EXAMPLES = 20  # of each operation, of each kind, as each role
SHOWN = 10  # failures that are told
STRANGER = "stranger"
ALWAYS = {"workspace", "token_id"}  # of the addresses: nobody ends the token they ask with
# Which changes a role may make: those at addresses that begin so, below the workspace.
ASKS = "/quotas/requests"
RUNS = ("/runs", "/experiments", "/snapshots", "/uploads", "/queue/{run_id}/move", "/dashboards", ASKS)
ANSWERS = ("/approve", "/decline")  # for who is signed in: no token's
MAY: Mapping[str, tuple[str, ...]] = {
    STRANGER: (),
    "Reader": (),
    "DataScientist": RUNS,
    "ComputeOperator": ("/targets", ASKS),
    "Contributor": (*RUNS, "/targets"),
    "Owner": ("",),
}


def measure(bench: "Bench") -> Samples:
    """Return how many failures there were, with the first few in words."""
    with tempfile.TemporaryDirectory(prefix="studio-fuzz-") as folder:
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "STUDIO_URL")}
        environ |= {"STUDIO_DATA": folder, "SECRET_KEY": "only-for-measuring", "ALLOWED_HOSTS": "localhost"}
        environ |= {"DJANGO_SETTINGS_MODULE": "studio.settings", "LOG_LEVEL": "CRITICAL"}
        command = [sys.executable, "-m", "studio.bench.api_fuzz_failures", folder]
        with queue(Path(folder)):
            subprocess.run(command, env=environ, cwd=CHECKOUT, check=True)  # noqa: S603
        told: dict[str, Any] = json.loads((Path(folder) / "found.json").read_text())
    notes = [f"{told['asked']:,} requests, {told['operations']} operations, {len(MAY)} roles"]
    return Samples([float(len(told["found"]))], [*notes, *told["found"][:SHOWN]])


def fuzz(
    words: Mapping[str, str], known: Mapping[str, str], examples: int, asked: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Ask every operation with the tokens in `words`, by role, and yield each failure in words.

    `known` has names that exist, for the addresses: {"workspace": …, "run_id": …}.
    """
    import hypothesis
    import schemathesis
    from django.core import signals
    from django.core.wsgi import get_wsgi_application
    from django.db import close_old_connections
    from schemathesis import GenerationMode, checks
    from schemathesis.specs.openapi import checks as of_openapi

    looks: list[Any] = [
        checks.not_a_server_error,
        of_openapi.status_code_conformance,
        of_openapi.content_type_conformance,
        of_openapi.response_schema_conformance,
    ]
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)  # all requests share one, as in Django's own test client
    any_role = {"Authorization": f"Bearer {next(iter(words.values()))}"}
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application(), headers=any_role)
    found: dict[str, None] = {}

    def ask(case: Any, role: str) -> None:
        for name, value in known.items():
            if name in case.path_parameters and (name in ALWAYS or role != "Reader"):
                case.path_parameters[name] = value
        asked()
        told = f"{case.method} {case.operation.path} as {role}"
        response = case.call(headers={"Authorization": f"Bearer {words[role]}"})
        below = case.operation.path.partition("{workspace}")[2]
        may = case.method == "GET" or (below.startswith(MAY[role]) and not below.endswith(ANSWERS))
        if response.status_code < 300 and "{workspace}" in case.operation.path and (role == STRANGER or not may):
            found.setdefault(f"{told}: {response.status_code}, and it may not")
        try:
            case.validate_response(response, checks=looks)
        except (Exception, BaseExceptionGroup) as problem:  # schemathesis' own
            parts = getattr(problem, "exceptions", [problem])
            found.setdefault(f"{told}: {response.status_code} {'; '.join(str(p)[:160] for p in parts)}")

    how = hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    # The document is valid: test_document.py. What deletes comes last, so that the others find something.
    operations: list[Any] = [made.ok() for made in schema.get_all_operations()]  # type: ignore[union-attr]
    for operation in sorted(operations, key=lambda one: one.method.upper() == "DELETE"):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                cases = operation.as_strategy(generation_mode=mode)

                @how
                @hypothesis.given(case=cases)
                def one(case: Any) -> None:
                    for role in words:
                        ask(case, role)

                one()
            except (hypothesis.errors.Unsatisfiable, schemathesis.errors.InvalidSchema):
                continue  # nothing that it takes could be wrong
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)
    yield from found


def main(folder: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    import studio.celery  # tasks are queued there, not at the queue's own default

    assert studio.celery  # noqa: S101
    call_command("migrate", verbosity=0)
    words, known = fill()
    count = 0

    def asked() -> None:
        nonlocal count
        count += 1

    found = list(fuzz(words, known, EXAMPLES, asked))
    from studio.api.urls import document

    operations = sum(map(len, document()["paths"].values()))
    (folder / "found.json").write_text(json.dumps({"found": found, "asked": count, "operations": operations}))


def fill() -> tuple[dict[str, str], dict[str, str]]:
    """Make a workspace with somebody in each role, and return a token of each, and the names of what is there."""
    from compute.actions import create_cluster, ensure_local
    from compute.engines import embedded
    from compute.quotas.asking import Blocked, ask
    from compute.quotas.models import Limit
    from runs import actions, snapshots
    from runs.configuration import RunConfiguration
    from studio.dashboards.actions import make_dashboard, make_link
    from studio.people.actions import create_workspace, issue_token, revoke_token, set_role
    from studio.people.models import User
    from studio.people.permissions import GRANTABLE, Role, may

    owner, stranger = (User.objects.create_user(name, password=None) for name in ("owner", "stranger"))
    here, there = create_workspace("here", owner), create_workspace("there", stranger)

    def word(person: User, space: Any) -> str:
        rights = {right for right in GRANTABLE if may(person, right, space)}
        return issue_token(space, person, "fuzz", rights, days=1)[1]

    words = {"Owner": word(owner, here), STRANGER: word(stranger, there)}
    for role in (role for role in Role if role != Role.OWNER):
        person = User.objects.create_user(role.value.lower(), password=None)
        set_role(here, person, role, by=owner)
        words[role.value] = word(person, here)
    size = embedded.default_size().name
    cluster = create_cluster(
        here, by=owner, name="cpu-cluster", vm_size=size, vm_priority="Dedicated", min_nodes=0, max_nodes=2
    )
    snapshot, _facts = snapshots.from_text(here, "train.py", "print('hello')\n")
    run = actions.submit_run(
        here, by=owner, experiment="digits", target=ensure_local(here), snapshot=snapshot,
        config=RunConfiguration("train.py"),
    )  # fmt: skip
    Limit.objects.create(workspace=here, family="*", cores=20)
    quota = ask(here, Blocked(family="*"), cores=40, reason="A sweep.", back="", by=owner)
    board = make_dashboard(here, "Lab", by=owner, overview=True)
    link, _word = make_link(board, "lab", days=1, shows=set(), by=owner)
    ended, _word = issue_token(here, owner, "ended", set(), days=1)
    revoke_token(ended, by=owner)
    ids = {"dashboard_id": board.pk, "tile_id": board.tiles.all()[0].pk, "link_id": link.pk, "token_id": ended.pk}
    ids["request_id"] = quota.pk
    names = {"workspace": "here", "run_id": run.run_id, "name": cluster.name, "stream": "1/studio.txt"}
    return words, names | {name: str(pk) for name, pk in ids.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
