"""A metric of one run, or of an experiment run by run."""

from typing import Any

from django import forms
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import Job
from runs import metrics
from runs.models import Attempt, Experiment, Run
from studio.dashboards import charts
from studio.dashboards.tiles.base import Figure, Kind, Seen, TileData, TileForm
from studio.people.models import Workspace

MOST_RUNS = 100  # of an experiment, the newest
MOST_CURVES = 6  # of a run, where no metric is named
TONES = ("accent", "ok", "warn", "bad", "idle", "run")


class MetricForm(TileForm):
    of = forms.ChoiceField(
        label=gettext_lazy("Of"),
        choices=[("run", gettext_lazy("a run")), ("experiment", gettext_lazy("an experiment, run by run"))],
    )
    name = forms.CharField(
        label=gettext_lazy("Which one"),
        max_length=255,
        help_text=gettext_lazy("The id of a run, or the name of an experiment."),
    )
    metric = forms.CharField(
        label=gettext_lazy("Metric"),
        max_length=metrics.LONGEST_NAME,
        required=False,
        help_text=gettext_lazy("As the script names it, “loss” for instance. Empty: every metric of the run."),
    )
    logarithmic = forms.BooleanField(label=gettext_lazy("Logarithmic scale"), required=False)

    def clean(self) -> dict[str, Any]:
        said = super().clean() or self.cleaned_data
        name = str(said.get("name", "")).strip()
        if said.get("of") == "experiment":
            if name and not Experiment.objects.filter(workspace=self.workspace, name=name).exists():
                self.add_error("name", _("There is no experiment of this name in the workspace."))
            if not said.get("metric"):
                self.add_error("metric", _("Say which metric of its runs is drawn."))
        elif name and not Run.objects.filter(workspace=self.workspace, run_id=name).exists():
            self.add_error("name", _("There is no run with this id in the workspace."))
        return {**said, "name": name}


class Metric(Kind):
    key, icon = "metric", "chart-line"
    label = gettext_lazy("Metric")
    about = gettext_lazy("What a run measures while it runs, or what the runs of an experiment came to.")
    form = MetricForm
    moved_by = frozenset({"run:moved"})

    def title(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> str:
        metric = str(options.get("metric") or _("metrics"))
        if not seen.names:
            return _("A metric of an experiment") if options.get("of") == "experiment" else _("A metric of a run")
        name = str(options.get("name", ""))
        if options.get("of") == "run":
            run = Run.objects.filter(workspace=workspace, run_id=name).first()
            name = run.display_name if run else name
        return _("%(metric)s of %(name)s") % {"metric": metric, "name": name}

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        if options.get("of") == "experiment":
            return self.over_runs(workspace, options, seen)
        run = Run.objects.filter(workspace=workspace, run_id=str(options.get("name"))).first()
        job = metrics.last_job(run) if run else None
        found = metrics.of_job(job).curves if job else []
        metric = str(options.get("metric") or "")
        curves = [curve for curve in found if metric in ("", curve.name)][:MOST_CURVES]
        names = [curve.name if seen.names else _("metric %(n)d") % {"n": n} for n, curve in enumerate(curves, 1)]
        drawn = [
            charts.series(name, TONES[n], [p.step for p in curve.points], [p.value for p in curve.points])
            for n, (name, curve) in enumerate(zip(names, curves, strict=True))
        ]
        figures = [Figure(n, _number(c.last), TONES[at]) for at, (n, c) in enumerate(zip(names, curves, strict=True))]
        return TileData(
            said=", ".join(
                _("%(name)s: %(last)s after %(n)d values") % {"name": name, "last": _number(c.last), "n": c.count}
                for name, c in zip(names, curves, strict=True)
            )
            or _("It has measured nothing yet."),
            columns=[_("Metric"), _("Step"), _("Value")],
            rows=[[n, p.step, p.value] for n, curve in zip(names, curves, strict=True) for p in curve.points],
            figures=figures,
            chart=charts.chart("line", "number", drawn, logarithmic=bool(options.get("logarithmic")))
            if drawn
            else None,
            watches=[job] if job and run and not run.has_ended else [],
        )

    def over_runs(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        """Return the last value of each of the newest runs of an experiment, by the run's number."""
        metric = str(options.get("metric"))
        experiment = Experiment.objects.filter(workspace=workspace, name=str(options.get("name"))).first()
        newest = Run.objects.filter(experiment=experiment).order_by("-number")[:MOST_RUNS]
        runs = {run.pk: run for run in reversed(newest)} if experiment else {}
        jobs: dict[int, Job] = {
            attempt.run_id: attempt.job
            for attempt in Attempt.objects.filter(run__in=list(runs)).select_related("job").order_by("number")
        }
        values = [(runs[pk], metrics.last_value(jobs[pk], metric)) for pk in runs if pk in jobs]
        found = [(run, value) for run, value in values if value is not None]
        name = metric if seen.names else _("metric")
        facts = {"name": name, "n": len(found)}
        line = charts.series(name, "accent", [run.number for run, _v in found], [value for _r, value in found])
        if found:
            facts["last"] = _number(found[-1][1])
        return TileData(
            said=_("%(name)s: %(last)s in the newest of %(n)d runs") % facts
            if found
            else _("None has measured it yet."),
            columns=[_("Run"), _("Number"), name],
            rows=[[run.display_name if seen.names else _("a run"), run.number, value] for run, value in found],
            figures=[Figure(name, str(facts["last"]), "accent")] if found else [],
            chart=charts.chart("line", "number", [line], logarithmic=bool(options.get("logarithmic")))
            if found
            else None,
            watches=[jobs[pk] for pk, run in runs.items() if pk in jobs and not run.has_ended],
        )


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return formats.number_format(float(f"{value:.4g}"))
