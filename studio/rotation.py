"""Sealing everything anew under the newest key, while the studio runs.

A model takes part when it has a JSON field `sealed`, {name: sealed text}, and says `place_of(name)`.
"""

from collections.abc import Iterator
from typing import Any, Protocol, cast

from django.apps import apps
from django.db import models, transaction

from studio.seal import is_sealed_anew, seal, unseal

BATCH = 100  # rows that are locked at a time


class Sealed(Protocol):
    pk: Any
    sealed: dict[str, str]

    def place_of(self, name: str) -> str: ...


def models_with_secrets() -> list[type[models.Model]]:
    """Return the models that keep sealed values."""
    return [m for m in apps.get_models() if hasattr(m, "place_of") and any(f.name == "sealed" for f in m._meta.fields)]


def reseal(model: type[models.Model]) -> Iterator[tuple[int, int, int]]:
    """Seal every value of a model under the newest key; yield how many rows were looked at, of how many, and how many
    values were sealed anew so far.
    """
    rows = model._default_manager.exclude(sealed={}).order_by("pk")
    whole, looked, changed, last = rows.count(), 0, 0, 0
    while True:
        with transaction.atomic():
            batch = list(rows.filter(pk__gt=last).select_for_update(of=("self",))[:BATCH])
            for row in batch:
                changed += _reseal(cast("Sealed", row))
        if not batch:
            return
        last, looked = batch[-1].pk, looked + len(batch)
        yield looked, whole, changed


def left_over(model: type[models.Model]) -> int:
    """Return how many values another key than the newest sealed."""
    rows = model._default_manager.exclude(sealed={}).values_list("sealed", flat=True)
    return sum(not is_sealed_anew(text) for sealed in rows.iterator() for text in sealed.values())


def _reseal(row: Sealed) -> int:
    fresh = {}
    for name, text in row.sealed.items():
        if not is_sealed_anew(text):
            where = row.place_of(name)
            fresh[name] = seal(unseal(text, where=where), where=where)
    if fresh:
        type(cast("models.Model", row))._default_manager.filter(pk=row.pk).update(sealed=row.sealed | fresh)
    return len(fresh)
