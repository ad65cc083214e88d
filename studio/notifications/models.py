"""What happened, whom it is told, and how far the telling is."""

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studio.live import nudge
from studio.notifications.events import OF_RUNS, Event
from studio.people.models import User, Workspace
from studio.seal import seal, unseal

if TYPE_CHECKING:
    from studio.notifications.events import About

GIVEN_UP_AFTER = timedelta(hours=24)
# Of the matters that are somebody's own. Runs that end in a moment, and those that end well, are seen on the page.
BY_MAIL = [
    Event.RUN_FAILED,
    Event.QUOTA_REQUESTED,
    Event.QUOTA_ANSWERED,
    Event.BUDGET_WARNED,
    Event.BUDGET_REACHED,
    Event.TARGET_BLOCKED,
    Event.TOKEN_EXPIRING,
]
LEAST_MINUTES = 10


class Format(models.TextChoices):
    """What a webhook's body is made for."""

    JSON = "json", _("JSON, signed")
    SLACK = "slack", "Slack"
    TEAMS = "teams", "Microsoft Teams"


class Faring(models.TextChoices):
    """How a webhook fares."""

    OFF = "off", _("Turned off")
    FAILING = "failing", _("Given up")
    RESTING = "resting", _("Tried again later")
    WELL = "well", _("Well")

    @property
    def tone(self) -> str:
        return {"failing": "bad", "resting": "warn", "well": "ok"}.get(self.value, "idle")


class Webhook(models.Model):
    """An address that a workspace tells of what happens. The address is a secret: whoever knows it may write there."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=50)
    format = models.CharField(max_length=10, choices=Format, default=Format.JSON)
    language = models.CharField(max_length=8, default="en")  # of the sentences
    events = models.JSONField(default=list)  # of Event
    experiment = models.CharField(max_length=200, blank=True)  # of runs, only this one's; empty: of all
    is_on = models.BooleanField(default=True)
    sealed = models.JSONField(default=dict)  # {"address", "signing", "former"}: sealed text; never shown
    former_until = models.DateTimeField(null=True)  # the signing secret before this one signs, too, until then
    host = models.CharField(max_length=255)  # what is shown of the address: its host, and
    ending = models.CharField(max_length=4)  # its last letters
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    busy_until = models.DateTimeField(null=True)  # somebody sends to it; later than this, whoever it was is gone
    resting_until = models.DateTimeField(null=True)  # it did not answer as it should, and is left alone
    failures = models.PositiveIntegerField(default=0)  # in a row
    problem = models.CharField(max_length=500, blank=True)  # one sentence: why it is given up; empty: it works

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint("workspace", Lower("name"), name="one_webhook_of_a_name")]

    def __str__(self) -> str:
        return self.name

    def place_of(self, name: str) -> str:
        """Return the place that the secret `name` is sealed for."""
        return f"notifications.webhook/{self.pk}/{name}"

    def secret(self, name: str) -> str:
        """Return "address" or "signing" in clear text. Raises CannotUnseal."""
        return unseal(self.sealed[name], where=self.place_of(name))

    @property
    def former_signing(self) -> list[str]:
        """Return under which name the signing secret before this one is kept, while it signs, too."""
        goes_on = self.former_until is not None and self.former_until > timezone.now()
        return ["former"] if goes_on and "former" in self.sealed else []

    @property
    def faring(self) -> Faring:
        """Return how it fares, the worst first."""
        if not self.is_on:
            return Faring.OFF
        if self.problem:
            return Faring.FAILING
        return Faring.RESTING if self.failures else Faring.WELL

    def keep(self, name: str, value: str) -> None:
        """Seal a secret; the row has its id already and is saved afterwards. Raises NoSealKey."""
        self.sealed = self.sealed | {name: seal(value, where=self.place_of(name))}

    def wants(self, event: Event, about: "About") -> bool:
        """Say whether it is told of this. Of runs it may want one experiment's alone."""
        if event not in self.events:
            return False
        is_of = str(about.data.get("experiment", "")).lower()
        return event not in OF_RUNS or not self.experiment or self.experiment.lower() == is_of

    def moved(self) -> None:
        """Nudge the pages that show it and its deliveries."""
        nudge(self.workspace.group, "webhook:moved", id=self.pk)


class MailChoice(models.Model):
    """What a person wants to be told by e-mail of what is their own. Who has none wants `BY_MAIL`."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="mail_choice")
    events = models.JSONField(default=list)  # of Event
    least_minutes = models.PositiveIntegerField(default=LEAST_MINUTES)  # shorter runs are not told of

    def __str__(self) -> str:
        return f"what {self.user} is mailed"

    @classmethod
    def of(cls, user: User) -> "MailChoice":
        """Return what a person chose, or what holds as long as they have not."""
        known: MailChoice | None = getattr(user, "mail_choice", None)
        return known or cls(user=user, events=[event.value for event in BY_MAIL])

    def wants(self, event: str, data: dict[str, Any]) -> bool:
        """Say whether the person is told of this."""
        seconds = data.get("seconds")
        too_short = event in OF_RUNS and seconds is not None and seconds < 60 * self.least_minutes
        return event in self.events and not too_short


class Notice(models.Model):
    """Something that happened, in the words of its time; kept as long as the log of deliveries."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="notices")
    event = models.CharField(max_length=20)  # of Event, or "test"
    at = models.DateTimeField(default=timezone.now, db_index=True)
    title = models.CharField(max_length=300)
    text = models.CharField(max_length=1000, blank=True)
    hint = models.CharField(max_length=1000, blank=True)
    path = models.CharField(max_length=500, blank=True)
    facts = models.JSONField(default=dict)
    data = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.title


class DeliveryState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    SENT = "sent", _("Delivered")
    FAILED = "failed", _("Given up")
    DROPPED = "dropped", _("Not wanted any more")

    @property
    def tone(self) -> str:
        return {"sent": "ok", "failed": "bad", "waiting": "run"}.get(self.value, "idle")


class Delivery(models.Model):
    """One notice on its way to one webhook or one person, until it arrived or was given up.

    These rows are the outbox: they are written with what happened, in one transaction, and nothing else remembers it.
    """

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, null=True, related_name="deliveries")
    person = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)  # the same at every attempt
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True, default=timezone.now)  # of one that waits: not before
    give_up_at = models.DateTimeField()
    last_at = models.DateTimeField(null=True)  # when it was tried last
    code = models.PositiveIntegerField(null=True)  # of the last answer, where there was one
    took_ms = models.PositiveIntegerField(null=True)
    problem = models.CharField(max_length=500, blank=True)  # one sentence: what went wrong at the last attempt
    words = models.CharField(max_length=500, blank=True)  # the receiver's own, in its last answer
    batch = models.UUIDField(null=True)  # of a mail that is being sent: what stands in it

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(webhook=None, person__isnull=False) | Q(webhook__isnull=False, person=None),
                name="to_a_webhook_or_a_person",
            )
        ]
        indexes = [
            models.Index(fields=["next_at"], name="deliveries_due", condition=Q(state="waiting")),
            models.Index(fields=["webhook", "-id"], name="deliveries_of_a_webhook"),
        ]

    def __str__(self) -> str:
        return f"{self.notice_id} to {self.webhook or self.person}"

    @property
    def shown_state(self) -> DeliveryState:
        return DeliveryState(self.state)

    @property
    def message_id(self) -> str:
        """Return what receivers know it by, however often it comes."""
        return f"msg_{self.uid.hex}"
