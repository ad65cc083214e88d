"""What the month has cost until now, against the workspace's budget."""

from datetime import timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.quotas.budgets import this_month
from compute.quotas.models import Budget
from compute.usage.reads import report
from studio.dashboards import charts
from studio.dashboards.tiles.base import Figure, Kind, Seen, TileData
from studio.people.models import Workspace
from studio.people.permissions import Right
from studio.templatetags.studio import usd

WARNED_AT = 0.8  # of the budget


class Spend(Kind):
    key, icon = "spend", "wallet"
    label = gettext_lazy("Spend this month")
    about = gettext_lazy("What runs have cost this month, day by day, against the budget of the workspace.")
    moved_by = frozenset({"sample:moved", "run:moved"})
    right = Right.VIEW_USAGE

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        first, today = this_month(), timezone.now().date()
        by_day = {line.key["day"]: line.usd for line in report(workspace, first, today + timedelta(days=1), ("day",))}
        days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
        sums = list(accumulate(by_day.get(day, Decimal(0)) for day in days))
        budget = Budget.objects.filter(workspace=workspace, team=None, person=None).first()
        limit = budget.usd_per_month if budget else None
        share = float(sums[-1] / limit) if limit else 1.0 if limit is not None else 0.0
        tone = "bad" if share >= 1 else "warn" if share >= WARNED_AT else "ok"
        facts = {"spent": usd(sums[-1]), "budget": usd(limit), "percent": round(share * 100)}
        figures = [Figure(_("spent, USD"), usd(sums[-1]), tone, share=min(1.0, share) if budget else None)]
        drawn = [charts.series(_("spent"), "accent", [str(d) for d in days], [float(n) for n in sums])]
        if limit is not None:
            said = _("%(spent)s spent this month of a budget of %(budget)s: %(percent)d %%.") % facts
            figures.append(Figure(_("budget"), usd(limit), "idle"))
            drawn.append(charts.series(_("budget"), "idle", [str(d) for d in days], [float(limit)] * len(days)))
        else:
            said = _("%(spent)s spent this month. No budget is set.") % facts
        return TileData(
            said=said,
            columns=[_("Day"), _("Spent until then, USD")],
            rows=[[str(day), float(total)] for day, total in zip(days, sums, strict=True)],
            figures=figures,
            chart=charts.chart("line", "day", drawn) if sums[-1] or budget else None,
        )
