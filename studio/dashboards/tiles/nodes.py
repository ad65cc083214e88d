"""Nodes of clusters by their state, over time."""

from typing import Any

from django import forms
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import ComputeTarget
from compute.states import NodeState
from studio.dashboards import charts
from studio.dashboards.models import Sample
from studio.dashboards.tiles.base import Figure, Kind, Seen, SpanForm, TileData, nothing_yet, samples_of, span_in_words
from studio.people.models import Workspace

TONES = {
    NodeState.RUNNING: "run",
    NodeState.PREPARING: "accent",
    NodeState.IDLE: "ok",
    NodeState.LEAVING: "warn",
    NodeState.PREEMPTED: "idle",
    NodeState.UNUSABLE: "bad",
}


class NodesForm(SpanForm):
    cluster = forms.ChoiceField(label=gettext_lazy("Cluster"), required=False)

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(workspace, *args, **kwargs)
        known = ComputeTarget.objects.existing().filter(workspace=workspace, kind="AmlCompute").order_by("name")
        choices = [(str(pk), name) for pk, name in known.values_list("pk", "name")[:500]]
        self.fields["cluster"].choices = [("", _("All clusters")), *choices]  # type: ignore[attr-defined]


class Nodes(Kind):
    key, icon = "nodes", "server"
    label = gettext_lazy("Nodes by state")
    about = gettext_lazy("How many nodes run, idle, prepare and leave, over time.")
    form = NodesForm
    moved_by = frozenset({"sample:moved"})

    def title(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> str:
        if not options.get("cluster"):
            return str(self.label)
        name = _("one cluster")
        if seen.names:
            found = ComputeTarget.objects.filter(workspace=workspace, pk=options["cluster"]).first()
            name = found.name if found else _("a cluster that is gone")
        return _("Nodes of %(name)s") % {"name": name}

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        samples = samples_of(workspace, options)
        counts = [counted(sample, str(options.get("cluster") or "")) for sample in samples]
        there = [state for state in NodeState if any(one.get(state.value) for one in counts)]
        now = counts[-1] if counts else {}
        parts = [f"{_short(now[s.value])} {s.label}" for s in there if now.get(s.value)]
        if not samples:
            said = nothing_yet()
        else:
            facts = {
                "n": _short(sum(now.values())),
                "states": ", ".join(parts) or _("none"),
                "most": _short(max(sum(one.values()) for one in counts)),
                "span": span_in_words(options),
            }
            said = _("Nodes now: %(n)s (%(states)s). %(span)s: at most %(most)s.") % facts
        times = [sample.at for sample in samples]
        drawn = [charts.series(str(s.label), TONES[s], times, [c.get(s.value, 0) for c in counts]) for s in there]
        return TileData(
            said=said,
            columns=[_("Time"), *(str(state.label) for state in there)],
            rows=[[at, *(c.get(s.value, 0) for s in there)] for at, c in zip(times, counts, strict=True)],
            figures=[Figure(str(s.label), _short(now.get(s.value, 0)), TONES[s]) for s in there],
            chart=charts.chart("area", "time", drawn) if there else None,
            as_of=times[-1] if times else None,
        )


def counted(sample: Sample, cluster: str) -> dict[str, float]:
    """Return how many nodes were in each state: of one cluster, or of all."""
    found: dict[str, float] = {}
    for target, states in sample.nodes.items():
        if cluster in ("", target):
            for state, count in states.items():
                found[state] = found.get(state, 0) + count
    return found


def _short(count: float) -> str:
    return formats.number_format(round(count, 1) if count % 1 else int(count))
