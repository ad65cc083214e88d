"""What is used of each limit of cores, by VM family."""

from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import sizes
from compute.quotas.bounds import Bound, with_use
from compute.quotas.models import ALL, Limit
from compute.states import Priority
from studio.dashboards.tiles.base import Figure, Kind, Seen, TileData
from studio.people.models import Workspace

MOST = 12  # limits shown, the tightest first
TIGHT, FULL = 0.8, 1.0  # of a limit


class Quota(Kind):
    key, icon = "quota", "gauge"
    label = gettext_lazy("Quota by family")
    about = gettext_lazy("How many cores are used of each limit, the tightest first.")
    moved_by = frozenset({"sample:moved", "target:moved", "run:moved"})
    template = "dashboards/tiles/_chart.html"

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        whose = Q(workspace=None) | Q(workspace=workspace)
        found = with_use(Limit.objects.filter(whose, team=None, person=None))
        found = sorted(found, key=lambda one: (-share_of(one), one.family, one.priority))[:MOST]
        tightest = found[0] if found else None
        said = _("No limit of cores is set.")
        if tightest is not None:
            facts = {"cores": name_of(tightest), "used": tightest.used, "limit": tightest.limit}
            said = _("Tightest: %(cores)s, %(used)d of %(limit)d cores used.") % facts
        return TileData(
            said=said,
            columns=[_("Limit"), _("Cores used"), _("Limit of cores"), _("Left")],
            rows=[[name_of(one), one.used, one.limit, one.left] for one in found],
            figures=[
                Figure(
                    label=name_of(one),
                    value=_("%(used)d of %(limit)d") % {"used": one.used, "limit": one.limit},
                    tone="bad" if share_of(one) >= FULL else "warn" if share_of(one) >= TIGHT else "ok",
                    share=min(1.0, share_of(one)),
                )
                for one in found
            ],
        )


def share_of(bound: Bound) -> float:
    return bound.used / bound.limit if bound.limit else 1.0


def name_of(bound: Bound) -> str:
    """Return a limit in words, without the name of whom it is for: "NCsv3, low priority, whole studio"."""
    parts = [_("all families") if bound.family == ALL else sizes.family_name(bound.family)]
    if bound.priority == Priority.LOW_PRIORITY:
        parts.append(_("low priority"))
    if bound.workspace_id is None:
        parts.append(_("whole studio"))
    return ", ".join(parts)
