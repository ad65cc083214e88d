"""What a person may type about a run: the submit form, and tags and descriptions afterwards."""

import re
import shlex
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import environments
from compute.actions import cannot_ever_run
from compute.drivers import driver_class
from compute.drivers.base import Attaches, RunForm
from compute.models import ComputeTarget
from runs.configuration import DEFAULT_MAX_SECONDS, DEFAULT_RESTARTS, EnvironmentSpec, RunConfiguration
from runs.models import Run, valid_experiment_name
from studio.errors import StudioError
from studio.people.models import Workspace

MOST_TAGS = 50  # Source: LIM20, runs: 50 tags; key 100, value 1,000
LONGEST_KEY, LONGEST_VALUE = 100, 1000
LONGEST_DESCRIPTION = 5000
MOST_VARIABLES = 200
LONGEST_VARIABLE = 32_000
MOST_ARGUMENTS = 1000
MOST_RESTARTS = 100
LONGEST_DURATION = 365 * 86400
RESERVED = ("AZUREML_", "STUDIO_")  # the studio sets these itself
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
_SPAN = re.compile(r"(\d+(?:[.,]\d+)?)\s*([a-z]+)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WORDS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip


def seconds_of(text: str) -> int:
    """Return the seconds that `text` says: "30 d", "2 h 30 min", "1:30:00". Raises ValueError for anything else."""
    said = text.strip().lower()
    if re.fullmatch(r"\d{1,4}:[0-5]\d:[0-5]\d", said):
        hours, minutes, seconds = (int(part) for part in said.split(":"))
        return hours * 3600 + minutes * 60 + seconds
    total, rest = 0.0, said
    while rest := rest.lstrip(" ,"):
        match = _SPAN.match(rest)
        if match is None or (unit := _WORDS.get(match[2], match[2])) not in _UNITS:
            raise ValueError(text)
        total += float(match[1].replace(",", ".")) * _UNITS[unit]
        rest = rest[match.end() :]
    if total <= 0:
        raise ValueError(text)
    return round(total)


def span_of(seconds: int) -> str:
    """Return `seconds` as `seconds_of` reads it: "30 d", "1 h 30 m"."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        n, seconds = divmod(seconds, _UNITS[unit])
        if n:
            parts.append(f"{n} {unit}")
    return " ".join(parts) or "0 s"


def pairs_of(data: Any, name: str) -> list[tuple[str, str]]:
    """Return the rows of a key and value field: `<name>_key` and `<name>_value`, as often as there are rows."""
    if not hasattr(data, "getlist"):
        return []
    rows = zip(data.getlist(f"{name}_key"), data.getlist(f"{name}_value"), strict=False)
    return [(key, value) for key, value in rows if key.strip() or value.strip()]


def tags_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the tags of typed rows. Raises ValidationError, naming the row that breaks a limit."""
    tags: dict[str, str] = {}
    for typed, value in pairs:
        key = typed.strip()
        if not key:
            raise ValidationError(_("The value “%(value)s” has no key.") % {"value": value[:40]})
        if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise ValidationError(
                _("“%(key)s…” is too long: a key has up to %(k)d characters, a value up to %(v)d.")
                % {"key": key[:40], "k": LONGEST_KEY, "v": LONGEST_VALUE}
            )
        if key in tags:
            raise ValidationError(_("The key “%(key)s” is there twice.") % {"key": key})
        tags[key] = value.strip()
    if len(tags) > MOST_TAGS:
        raise ValidationError(
            _("%(n)d tags are too many; up to %(most)d are kept.") % {"n": len(tags), "most": MOST_TAGS}
        )
    return tags


def variables_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the environment variables of typed rows. Raises ValidationError, naming the row that is wrong."""
    variables: dict[str, str] = {}
    for typed, value in pairs:
        name = typed.strip()
        if not _VARIABLE.match(name):
            raise ValidationError(
                _("“%(name)s” cannot be a variable's name: letters, digits and “_”, the first no digit.")
                % {"name": name[:80]}
            )
        if name.upper().startswith(RESERVED):
            raise ValidationError(_("“%(name)s” is one of the names the studio sets itself.") % {"name": name})
        if name in variables:
            raise ValidationError(_("“%(name)s” is there twice.") % {"name": name})
        if "\0" in value or len(value) > LONGEST_VARIABLE:
            raise ValidationError(_("The value of “%(name)s” is too long, or not text.") % {"name": name})
        variables[name] = value
    if len(variables) > MOST_VARIABLES:
        raise ValidationError(
            _("%(n)d variables are too many; up to %(most)d.") % {"n": len(variables), "most": MOST_VARIABLES}
        )
    return variables


def options_form(kind: str, data: Any = None, **more: Any) -> RunForm | None:
    """Return what the target's kind asks of a run beside the rest, as a form of its own; None where it asks nothing."""
    driver = driver_class(kind)
    if not issubclass(driver, Attaches) or driver.run_form is None:
        return None
    return driver.run_form(data, prefix=f"options-{kind}", use_required_attribute=False, **more)


class SubmitForm(forms.Form):
    """Everything about a run but its files."""

    token = forms.UUIDField(required=False, widget=forms.HiddenInput)
    experiment = forms.CharField(
        label=gettext_lazy("Experiment"),
        max_length=255,
        validators=[valid_experiment_name],
        help_text=gettext_lazy("Runs that belong together. A new name makes a new experiment."),
    )
    target = forms.CharField(
        label=gettext_lazy("Compute target"), error_messages={"required": gettext_lazy("Choose where it runs.")}
    )
    node_count = forms.IntegerField(label=gettext_lazy("Nodes"), min_value=1, initial=1)
    source = forms.ChoiceField(
        label=gettext_lazy("Files"),
        choices=[("upload", ""), ("paste", ""), ("same", "")],
        initial="upload",
        required=False,
    )
    code = forms.CharField(required=False, strip=False, label=gettext_lazy("Script"))
    code_name = forms.CharField(
        required=False, initial="train.py", max_length=200, label=gettext_lazy("File name"),
    )  # fmt: skip
    script = forms.CharField(
        required=False,
        max_length=1000,
        label=gettext_lazy("Script to run"),
        help_text=gettext_lazy("One of the files, with its folder."),
    )
    arguments = forms.CharField(
        required=False,
        strip=False,
        max_length=100_000,
        label=gettext_lazy("Arguments"),
        help_text=gettext_lazy("As you would type them in a shell; quotes keep words together."),
    )
    environment = forms.ChoiceField(
        label=gettext_lazy("Environment"),
        choices=[
            ("interpreter", gettext_lazy("Existing Python")),
            ("pip", gettext_lazy("pip requirements")),
            ("conda", gettext_lazy("conda file")),
        ],
        initial="interpreter",
    )
    interpreter = forms.CharField(
        required=False,
        max_length=1000,
        label=gettext_lazy("Interpreter"),
        help_text=gettext_lazy("A path or a name on the target. Empty: the target’s own Python."),
    )
    pip_text = forms.CharField(required=False, strip=False, max_length=100_000, label=gettext_lazy("Requirements"))
    conda_text = forms.CharField(required=False, strip=False, max_length=100_000, label=gettext_lazy("conda file"))
    description = forms.CharField(required=False, max_length=LONGEST_DESCRIPTION, label=gettext_lazy("Description"))
    max_duration = forms.CharField(
        label=gettext_lazy("Maximum duration"),
        initial=span_of(DEFAULT_MAX_SECONDS),
        help_text=gettext_lazy("Then it is ended: 90 s, 45 min, 12 h, 30 d, or 1:30:00."),
    )
    restarts = forms.IntegerField(
        label=gettext_lazy("Restarts after preemption"),
        min_value=0,
        max_value=MOST_RESTARTS,
        initial=DEFAULT_RESTARTS,
        help_text=gettext_lazy("A preempted run starts over from its first line, up to so many times."),
    )

    def __init__(self, data: Any = None, *, workspace: Workspace, like: Run | None = None, **more: Any) -> None:
        self.workspace, self.like = workspace, like
        self.chosen: ComputeTarget | None = None
        self.options: RunForm | None = None  # of the chosen target's kind, once the form was looked at
        self.tag_rows = pairs_of(data, "tag")
        self.variable_rows = pairs_of(data, "variable")
        super().__init__(data, **more)
        for name in ("files", "tags", "variables"):  # read from several parts of the request; a place for their errors
            self.fields[name] = forms.Field(required=False)

    def clean_token(self) -> UUID:
        token = self.cleaned_data["token"]
        return token if isinstance(token, UUID) else uuid4()

    def clean_target(self) -> str:
        name = str(self.cleaned_data["target"])
        targets = ComputeTarget.objects.existing().select_related("workspace")
        self.chosen = targets.filter(workspace=self.workspace, name__iexact=name).first()
        if self.chosen is None:
            raise ValidationError(_("There is no compute target “%(name)s” here.") % {"name": name[:40]})
        if reason := cannot_ever_run(self.chosen, 1):
            raise ValidationError(reason)
        return self.chosen.name

    def clean_code_name(self) -> str:
        return str(self.cleaned_data["code_name"]).strip() or "train.py"

    def clean_arguments(self) -> list[str]:
        typed = str(self.cleaned_data["arguments"]).replace("\r\n", "\n")
        if "\0" in typed:
            raise ValidationError(_("An argument cannot hold a zero byte."))
        try:
            # A line that ends in a backslash goes on in the next one, as in a shell.
            words = shlex.split(typed.replace("\\\n", " "))
        except ValueError as exc:
            raise ValidationError(_("A quote is opened and not closed.")) from exc
        if len(words) > MOST_ARGUMENTS:
            raise ValidationError(_("%(n)d arguments are too many.") % {"n": len(words)})
        return words

    def clean_interpreter(self) -> str:
        return str(self.cleaned_data["interpreter"]).strip()

    def clean_max_duration(self) -> int:
        typed = str(self.cleaned_data["max_duration"])
        try:
            seconds = seconds_of(typed)
        except ValueError as exc:
            hint = _("Write a number and its unit: 90 s, 45 min, 12 h, 30 d.")
            raise ValidationError(_("“%(typed)s” is no duration.") % {"typed": typed[:40]} + " " + hint) from exc
        if seconds > LONGEST_DURATION:
            raise ValidationError(_("At most a year."))
        return seconds

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("environment")
        if kind == "pip" and not str(cleaned.get("pip_text", "")).strip():
            self.add_error("pip_text", _("List at least one package, or choose an existing Python."))
        if kind == "conda" and not str(cleaned.get("conda_text", "")).strip():
            self.add_error("conda_text", _("Paste the environment file, or choose an existing Python."))
        field = {"interpreter": "interpreter", "pip": "pip_text", "conda": "conda_text"}.get(str(kind), "")
        if field in cleaned and self.chosen is not None:
            try:
                environments.definition_for(self.chosen, str(kind), str(cleaned[field]))
            except StudioError as exc:
                self.add_error(field, f"{exc.message} {exc.hint}".strip())
        self._clean_options(cleaned)
        for name, read in (("tags", tags_of), ("variables", variables_of)):
            rows = self.tag_rows if name == "tags" else self.variable_rows
            try:
                cleaned[name] = read(rows)
            except ValidationError as exc:
                self.add_error(name, exc)
        count = cleaned.get("node_count")
        if self.chosen is not None and count and (reason := cannot_ever_run(self.chosen, count)):
            self.add_error("node_count", reason)
        if cleaned.get("source") == "same" and (self.like is None or self.like.snapshot is None):
            self.add_error("source", _("There is no run whose files could be taken."))
        if cleaned.get("source") == "paste" and not str(cleaned.get("code", "")).strip():
            self.add_error("code", _("Paste the script, or choose files."))
        return cleaned

    def _clean_options(self, cleaned: dict[str, Any]) -> None:
        """Read what the chosen target's kind asks for; its errors are errors of this form too, by their own fields."""
        self.options = options_form(self.chosen.kind, self.data) if self.chosen is not None else None
        if self.options is None:
            return
        for name, said in self.options.errors.items():
            place = None if name == NON_FIELD_ERRORS else self.options.add_prefix(name)
            if place:
                self.fields[place] = forms.Field(required=False)
            self.add_error(place, ValidationError([str(error) for error in said]))
        cleaned["options"] = self.options.cleaned_data

    def configuration(self, script: str) -> RunConfiguration:
        """Return the run configuration of a valid form, for the script that was found in the files."""
        said = self.cleaned_data
        kind = said["environment"]
        text = {"pip": said.get("pip_text", ""), "conda": said.get("conda_text", "")}.get(kind, "")
        return RunConfiguration(
            script=script,
            arguments=said["arguments"],
            environment=EnvironmentSpec(
                kind=kind,
                interpreter=said["interpreter"] if kind == "interpreter" else "",
                text=text.replace("\r\n", "\n"),
            ),
            variables=said["variables"],
            node_count=said["node_count"],
            max_seconds=said["max_duration"],
            restarts=said["restarts"],
            options=said.get("options", {}),
        )


def initial_like(run: Run, *, with_values: bool) -> dict[str, Any]:
    """Return what the form shows at first to submit a run like `run`. Without `with_values` variables come empty."""
    config = RunConfiguration.from_json(run.config)
    environment = config.environment
    return {
        "experiment": run.experiment.name,
        "target": run.target_name,
        "node_count": config.node_count,
        "source": "same" if run.snapshot_id else "upload",
        "script": config.script,
        "arguments": shlex.join(config.arguments),
        "environment": environment.kind,
        "interpreter": environment.interpreter,
        "pip_text": environment.text if environment.kind == "pip" else "",
        "conda_text": environment.text if environment.kind == "conda" else "",
        "description": run.description,
        "max_duration": span_of(config.max_seconds),
        "restarts": config.restarts,
        "tag_rows": list(run.tags.items()),
        "variable_rows": [(name, value if with_values else "") for name, value in config.variables.items()],
    }


def likeliest_script(paths: list[str], ending: str = ".py") -> str:
    """Return the script that people most likely mean: train.py, main.py, or the only one; else nothing."""
    scripts = [path for path in paths if path.endswith(ending)]
    for name in ("train.py", "main.py"):
        if name in scripts:
            return name
        inside = [path for path in scripts if path.endswith(f"/{name}")]
        if len(inside) == 1:
            return inside[0]
    return scripts[0] if len(scripts) == 1 else ""
