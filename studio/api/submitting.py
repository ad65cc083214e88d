"""A run that a program asks for: its JSON as the form of the page, so that one form holds the rules."""

import shlex
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import QueryDict
from django.utils.translation import gettext as _
from ninja import Field
from pydantic import StringConstraints

from compute.models import ComputeTarget
from runs import snapshots, uploads
from runs.forms import SubmitForm
from runs.models import Run, Snapshot
from runs.submit_views import submitted
from studio.api.kit import Asked, Tags, Text, not_valid
from studio.errors import NotThere, NotValid
from studio.http import StudioRequest

KEPT = ("azureml.git.", "mlflow.source.git.")  # what a program may say of where its files come from
IN_API = {
    "files": "snapshot",
    "source": "like",
    "max_duration": "max_seconds",
    "interpreter": "environment.interpreter",
    "pip_text": "environment.text",
    "conda_text": "environment.text",
}


class Surroundings(Asked):
    """What the script needs around it: an existing Python, or packages from a requirements or conda file."""

    kind: Literal["interpreter", "pip", "conda"] = "interpreter"
    interpreter: Text = Field("", max_length=1000)
    text: Text = Field("", max_length=100_000)


class NewRun(Asked):
    """Exactly one of snapshot, upload, code and like says where the files come from."""

    target: Text = Field(max_length=24)
    experiment: Text = Field(max_length=255)
    snapshot: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    upload: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] | None = None
    code: Text | None = Field(None, max_length=4_000_000, description="The text of one script.")
    code_name: Text = Field("train.py", max_length=200)
    like: Text | None = Field(None, max_length=255, description="The run whose files are used again.")
    script: Text = Field("", max_length=1000, description="Which file is run; empty: the likeliest.")
    arguments: list[Text] = []
    environment: Surroundings = Field(default_factory=Surroundings.model_construct)
    variables: dict[Text, Text] = {}
    node_count: int = Field(1, ge=1, le=2**31)
    max_seconds: int = Field(2_592_000, ge=1, le=365 * 86400)
    restarts: int = Field(3, ge=0, le=100)
    description: Text = Field("", max_length=5000)
    tags: Tags = {}
    properties: Tags = Field({}, description="What git says of the files: azureml.git.… and mlflow.source.git.…")
    options: dict[Text, Text | bool | int | float] = Field({}, description="What the target's kind asks of a run.")


def submit(request: StudioRequest, asked: NewRun, *, token: UUID) -> Run:
    """Submit what is asked for; the same `token` again returns the run it submitted. Raises NotValid."""
    made = Run.objects.filter(token=token, workspace=request.workspace).select_related("experiment", "submitted_by")
    if (run := made.first()) is not None:
        return run
    if sum(one is not None for one in (asked.snapshot, asked.upload, asked.code, asked.like)) != 1:
        raise NotValid([("snapshot", _("Send exactly one of snapshot, upload, code and like."))])
    if wrong := [key for key in asked.properties if not key.startswith(KEPT)]:
        raise NotValid([("properties", _("“%(key)s” is not a fact of git.") % {"key": wrong[0][:80]})])
    like = _like(request, asked)
    form = SubmitForm(_as_form(request, asked, token), workspace=request.workspace, like=like)
    if form.is_valid():
        run = submitted(form, by=request.user, take=lambda: _taken(request, asked, like))
        if run is not None:
            return run
    raise not_valid(form, IN_API)


def _like(request: StudioRequest, asked: NewRun) -> Run | None:
    if asked.like is None:
        return None
    found = Run.objects.select_related("experiment", "snapshot").filter(workspace=request.workspace)
    run = found.filter(run_id=asked.like).first()
    if run is None:
        raise NotValid([("like", _("There is no such run here."))])
    return run


def _taken(request: StudioRequest, asked: NewRun, like: Run | None) -> snapshots.Taken:
    """Take the files in, however they come. Raises StudioError."""
    if like is not None and like.snapshot is not None:
        return like.snapshot, {key: value for key, value in like.properties.items() if key.startswith(KEPT)}
    if asked.code is not None:
        return snapshots.from_text(request.workspace, asked.code_name, asked.code)
    if asked.upload is not None:
        return uploads.find(request.workspace, request.user, asked.upload).finish(request.workspace)
    found = Snapshot.objects.filter(workspace=request.workspace, digest=asked.snapshot).first()
    if found is None:
        raise NotThere(_("There is no such snapshot here."), _("Send the files first."))
    return found, dict(asked.properties)


def _as_form(request: StudioRequest, asked: NewRun, token: UUID) -> QueryDict:
    """Return what the page's form would send."""
    form = QueryDict(mutable=True)
    source = "paste" if asked.code is not None else "same" if asked.like is not None else "upload"
    kind = asked.environment.kind
    said: dict[str, Any] = {
        "token": str(token),
        "experiment": asked.experiment,
        "target": asked.target,
        "source": source,
        "code": asked.code or "",
        "code_name": asked.code_name,
        "script": asked.script,
        "arguments": shlex.join(asked.arguments),
        "environment": kind,
        "interpreter": asked.environment.interpreter,
        "description": asked.description,
        "node_count": str(asked.node_count),
        "max_duration": f"{asked.max_seconds} s",
        "restarts": str(asked.restarts),
    }
    if kind != "interpreter":
        said[f"{kind}_text"] = asked.environment.text
    form.update(said)
    for name, pairs in (("tag", asked.tags), ("variable", asked.variables)):
        form.setlist(f"{name}_key", list(pairs))
        form.setlist(f"{name}_value", list(pairs.values()))
    found = ComputeTarget.objects.existing().filter(workspace=request.workspace, name__iexact=asked.target).first()
    for name, value in asked.options.items() if found else ():
        if value is not False and found is not None:
            form[f"options-{found.kind}-{name}"] = "on" if value is True else str(value)
    return form
