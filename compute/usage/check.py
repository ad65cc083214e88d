"""Whether the totals are what the jobs' own rows add up to, and making them so."""

from collections import Counter, defaultdict
from typing import Any

from django.db import connection, transaction

from compute.models import Job
from compute.usage import record
from compute.usage.models import AMOUNTS, BY_DAY, BY_MONTH, DayTotal, JobUsage, MonthTotal, Total

Key = tuple[Any, ...]
Sums = dict[Key, dict[str, int]]
AT_ONCE = 2000  # rows written together
NOTHING = dict.fromkeys((*AMOUNTS, "jobs"), 0)


@transaction.atomic
def drift() -> list[str]:
    """Return in words each total that is not what its jobs used; empty: all are. Ends wait meanwhile."""
    _let_nobody_end()
    said = []
    for model, keys, should in _reckoned():
        there = {key: sums for key, sums in _kept(model, keys).items() if any(sums.values())}
        for key in sorted(should.keys() | there.keys(), key=repr):
            wanted, found = should.get(key, NOTHING), there.get(key, NOTHING)
            if wanted != found:
                said.append(f"{model.__name__} {key}: is {found}, should be {wanted}")
    return said


@transaction.atomic
def rebuild() -> None:
    """Make the totals anew from what each job used."""
    take_up()
    _let_nobody_end()
    for model, keys, should in _reckoned():
        model._default_manager.all().delete()
        rows = (model(**dict(zip(_columns(keys), key, strict=True)), **sums) for key, sums in should.items())
        model._default_manager.bulk_create(rows, batch_size=AT_ONCE)


def take_up(most: int = 10_000) -> int:
    """Note the usage of jobs that ran before usage was kept, or whose end was not noted; return how many these were."""
    ran = Job.objects.filter(started_at__isnull=False, usage=None).select_related("target__workspace").order_by("pk")
    ended_unnoted = Job.objects.filter(usage__ended_at=None, usage__isnull=False, ended_at__isnull=False)
    taken = 0
    for job in [*ran[:most], *ended_unnoted.select_related("target__workspace")[:most]]:
        with transaction.atomic():
            record.began(job)
            if job.ended_at is not None:
                record.ended(job)
        taken += 1
    return taken


def _reckoned() -> list[tuple[type[Total], tuple[str, ...], Sums]]:
    """Return each table of totals with what it should hold, in one walk over all jobs."""
    days: Sums = defaultdict(Counter)
    months: Sums = defaultdict(Counter)
    for row in JobUsage.objects.filter(ended_at__isnull=False).iterator(AT_ONCE):
        used = list(record.parts_of(row))
        for number, part in enumerate(used, 1):
            more = part.amounts | {"jobs": int(number == len(used))}
            for sums, keys, key in (
                (days, BY_DAY, record.day_key(row, part)),
                (months, BY_MONTH, record.month_key(row, part.month)),
            ):
                total = sums[tuple(key[column] for column in _columns(keys))]
                for name, value in more.items():
                    total[name] = total.get(name, 0) + value
    plain = [{key: dict(sums) for key, sums in some.items()} for some in (days, months)]
    return [(DayTotal, BY_DAY, _without_nothing(plain[0])), (MonthTotal, BY_MONTH, _without_nothing(plain[1]))]


def _without_nothing(sums: Sums) -> Sums:
    return {key: amounts for key, amounts in sums.items() if any(amounts.values())}


def _kept(model: type[Total], keys: tuple[str, ...]) -> Sums:
    columns, names = _columns(keys), (*AMOUNTS, "jobs")
    rows = model._default_manager.values_list(*columns, *names).iterator(AT_ONCE)
    return {row[: len(columns)]: dict(zip(names, row[len(columns) :], strict=True)) for row in rows}


def _columns(keys: tuple[str, ...]) -> list[str]:
    return [f"{key}_id" if key in ("workspace", "target") else key for key in keys]


def _let_nobody_end() -> None:
    """Hold up whoever adds to the totals until this transaction is over; SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE usage_daytotal, usage_monthtotal IN EXCLUSIVE MODE")
