"""What can be told, and in which words."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Event(TextChoices):
    """What happened. The values are the types that webhooks name."""

    RUN_COMPLETED = "run.completed", _("A run completed")
    RUN_FAILED = "run.failed", _("A run failed")
    RUN_CANCELED = "run.canceled", _("A run was canceled")
    RUN_PREEMPTED = "run.preempted", _("A run was preempted and starts over")
    QUOTA_REQUESTED = "quota.requested", _("Somebody asks for more quota")
    QUOTA_ANSWERED = "quota.answered", _("A request for quota was answered")
    BUDGET_WARNED = "budget.warned", _("80 % of a budget is used")
    BUDGET_REACHED = "budget.reached", _("A budget is used up")
    TARGET_BLOCKED = "target.blocked", _("A target is blocked: its host key changed")
    TOKEN_EXPIRING = "token.expiring", _("An API token expires soon")


RUN_ENDS = frozenset({Event.RUN_COMPLETED, Event.RUN_FAILED, Event.RUN_CANCELED})
TEST = "test"  # the type of what the button Test sends
OF_RUNS = RUN_ENDS | {Event.RUN_PREEMPTED}


@dataclass(frozen=True)
class About:
    """What is told of an event, in English as everything that is stored; the reader's language comes when it is sent.

    So sentences are written with `gettext_noop`, or left as they were stored, and never hold a secret or a log's lines.
    """

    title: str  # one line: "brave_lemur_7k2 failed"
    text: str = ""  # a sentence: why
    hint: str = ""  # a sentence: what to do
    path: str = ""  # of the page: "/w/vision-team/runs/digits_1/"
    facts: dict[str, str] = field(default_factory=dict)  # what stands beside it: {"Target": "cpu-cluster"}
    # The same for programs, small JSON. Read here: "experiment", to filter by, and "seconds", how long a run took.
    data: dict[str, Any] = field(default_factory=dict)
