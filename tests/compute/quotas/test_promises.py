"""Whatever is reserved, released, used and broken off: totals are what rows say, and no limit is exceeded."""

from contextlib import suppress

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compute.models import Node
from compute.quotas import ledger
from compute.quotas.models import Account, Reservation
from studio.errors import QuotaExceeded
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster, make_job, make_node
from tests.compute.quotas.accounts import limit

EVENTS = ["reserve", "reserve", "remove", "assign", "unassign", "crash", "limit"]
happenings = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3), st.integers(1, 4)), max_size=15)


class Crash(Exception):
    """The process dies before it commits."""


@pytest.mark.django_db
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)
@given(happenings)
def test_totals_are_what_rows_say(workspace: Workspace, ben: User, happened: list[tuple[str, int, int]]) -> None:
    with transaction.atomic():
        whole, own = limit(14), limit(8, "standarddv2family", workspace)
        limit(4, "*", workspace, person=ben)
        clusters = [make_cluster(workspace, f"c-{n}", vm_size=size) for n, size in enumerate(SIZES)]
        for event, which, count in happened:
            cluster = clusters[which]
            with suppress(QuotaExceeded, Crash), transaction.atomic():
                if event in {"reserve", "crash"}:
                    ledger.reserve(cluster, [make_node(cluster) for _n in range(count)])
                if event in {"remove", "crash"}:
                    ledger.remove(Node.objects.filter(pk__in=list(cluster.nodes.values_list("pk", flat=True)[:count])))
                if event == "assign":
                    job = make_job(cluster, submitted_by=ben)
                    pks = list(cluster.nodes.filter(job=None).values_list("pk", flat=True)[:count])
                    ledger.assign(job, pks)
                    Node.objects.filter(pk__in=pks).update(job=job)
                if event == "unassign" and (used := cluster.jobs.order_by("pk").first()):
                    used.nodes.update(job=None)
                    ledger.unassign(job=used)
                if event == "crash":
                    raise Crash
            if event == "limit":
                type(whole).objects.filter(pk=whole.pk).update(cores=14 + count)
                whole.cores = max(whole.cores or 0, 14 + count)
            assert ledger.check() == []
            assert held() <= (whole.cores or 0)
            assert held(family=own.family) <= (own.cores or 0)
            assert sum(Reservation.objects.in_use().values_list("cores", flat=True)) <= 4
        transaction.set_rollback(True)


SIZES = ["Standard_D2_v2", "Standard_D2_v2", "Standard_DS2_v2", "Standard_NC6s_v3"]


def held(family: str = "*") -> int:
    account = Account.objects.filter(workspace=None, family=family).first()
    return account.cores if account else 0
