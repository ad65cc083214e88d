"""Nodes with their reservations, limits, and the words of pages, for tests that need some."""

import re
from typing import Any

from django.db import transaction

from compute.models import ComputeTarget, Node
from compute.quotas import ledger
from compute.quotas.models import Limit
from studio.people.models import Workspace
from tests.compute.clusters import make_node


def hold(target: ComputeTarget, count: int = 1) -> list[Node]:
    """Make nodes of two cores each, as the scheduler does."""
    with transaction.atomic():
        nodes = [make_node(target) for _n in range(count)]
        ledger.reserve(target, nodes)
    return nodes


def limit(cores: int | None, family: str = "*", workspace: Workspace | None = None, **columns: Any) -> Limit:
    return Limit.objects.create(cores=cores, family=family, workspace=workspace, **columns)


def words(answer: Any) -> str:
    """Return what an answer says, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())
