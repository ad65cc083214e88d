"""Limits that people set, reservations of cores, and the running totals that are locked while these change."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from compute.states import Priority
from studio.people.models import Team, User, Workspace
from studio.people.permissions import Right, may

ALL = "*"  # of every family together
MOST_CORES = 1_000_000  # nobody limits more; what is above is a slip of the hand


class Scope(models.TextChoices):
    """Whom a limit is for."""

    STUDIO = "subscription", _("the whole studio")
    WORKSPACE = "workspace", _("a workspace")
    TEAM = "team", _("a team")
    PERSON = "person", _("a person")


class LimitQuerySet(models.QuerySet["Limit"]):
    def of(
        self, workspace: Workspace | None, *, team: Team | None = None, person: User | None = None
    ) -> "LimitQuerySet":
        """Return the limits of exactly this one: of a team or a person in a workspace, of it, or of the studio."""
        return self.filter(workspace=workspace, team=team, person=person)


class Limit(models.Model):
    """How many cores somebody may have of a family, or of all: of the studio when it names no workspace.

    Without a row there is no limit. Low priority is one pool: for the studio and a workspace its family is ALL.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, null=True, blank=True, related_name="limits")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="limits")
    person = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="limits")
    family = models.CharField(max_length=60)  # sizes.family_key, or ALL
    priority = models.CharField(max_length=12, choices=Priority, default=Priority.DEDICATED)
    cores = models.PositiveIntegerField(null=True, blank=True)  # at most; None: no limit
    guaranteed = models.PositiveIntegerField(null=True, blank=True)  # cores; of teams and people alone
    version = models.PositiveIntegerField(default=1)  # the later of two who edit sees that the other was faster
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    objects = LimitQuerySet.as_manager()

    class Meta:
        ordering = ["family", "priority", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["family", "priority"], condition=Q(workspace=None), name="one_limit_of_the_studio"
            ),
            models.UniqueConstraint(
                fields=["workspace", "family", "priority"],
                condition=Q(workspace__isnull=False, team=None, person=None),
                name="one_limit_of_a_workspace",
            ),
            models.UniqueConstraint(
                fields=["team", "family", "priority"], condition=Q(team__isnull=False), name="one_limit_of_a_team"
            ),
            models.UniqueConstraint(
                fields=["workspace", "person", "family", "priority"],
                condition=Q(person__isnull=False),
                name="one_limit_of_a_person",
            ),
            models.CheckConstraint(
                condition=Q(team=None, person=None) | Q(workspace__isnull=False) & (Q(team=None) | Q(person=None)),
                name="limit_of_one_scope",
            ),
            models.CheckConstraint(
                condition=Q(guaranteed=None) | Q(team__isnull=False) | Q(person__isnull=False),
                name="guaranteed_to_teams_and_people",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cores} {self.family} {self.priority} cores of {self.scope}"

    @property
    def scope(self) -> Scope:
        if self.person_id is not None:
            return Scope.PERSON
        if self.team_id is not None:
            return Scope.TEAM
        return Scope.STUDIO if self.workspace_id is None else Scope.WORKSPACE


class Budget(models.Model):
    """What a workspace, a team or a person in it may spend a calendar month, on all families together."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="budgets")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    person = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    usd_per_month = models.DecimalField(max_digits=12, decimal_places=2)
    # Each the first day of a month (UTC), in which…
    overridden_for = models.DateField(null=True, blank=True)  # …runs start although it is used up
    warned_for = models.DateField(null=True, blank=True)  # …people were told that it is used up by 80 %
    reached_for = models.DateField(null=True, blank=True)  # …and that it is used up
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(team=None, person=None), name="one_budget_of_a_workspace"
            ),
            models.UniqueConstraint(fields=["team"], condition=Q(team__isnull=False), name="one_budget_of_a_team"),
            models.UniqueConstraint(
                fields=["workspace", "person"], condition=Q(person__isnull=False), name="one_budget_of_a_person"
            ),
            models.CheckConstraint(condition=Q(team=None) | Q(person=None), name="budget_of_one_scope"),
            models.CheckConstraint(condition=Q(usd_per_month__gte=0), name="budget_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.usd_per_month} USD a month of {self.whose}"

    @property
    def whose(self) -> str:
        """Return the name of the person, the team or the workspace that it is for."""
        return str(self.person or self.team or self.workspace)


class Account(models.Model):
    """The running total of what is held of a family at a priority, by a workspace or by the whole studio.

    One of them is the gate: whoever changes reservations locks it first. See compute.quotas.ledger.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, null=True, related_name="+")
    family = models.CharField(max_length=60)  # sizes.family_key, or ALL
    priority = models.CharField(max_length=12, choices=Priority)
    cores = models.BigIntegerField(default=0)  # held; negative only when something is wrong: `manage.py ledger` says

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["family", "priority"], condition=Q(workspace=None), name="one_account_of_the_studio"
            ),
            models.UniqueConstraint(
                fields=["workspace", "family", "priority"],
                condition=Q(workspace__isnull=False),
                name="one_account_of_a_workspace",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cores} {self.family} {self.priority} cores"


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def held(self) -> "ReservationQuerySet":
        """Return those of nodes that are there."""
        return self.filter(released_at=None)

    def in_use(self) -> "ReservationQuerySet":
        """Return those of nodes that run a job."""
        return self.held().filter(job__isnull=False)


class Reservation(models.Model):
    """The cores of one node of a cluster, from its making to its end. Kept for a year when released."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="reservations")
    target = models.ForeignKey("compute.ComputeTarget", on_delete=models.CASCADE, related_name="reservations")
    # RESTRICT: no node is deleted behind the ledger's back; compute.quotas.ledger.remove is the door.
    node = models.OneToOneField("compute.Node", on_delete=models.RESTRICT, null=True, related_name="reservation")
    node_name = models.CharField(max_length=40)  # its node_id; kept when it is gone
    family = models.CharField(max_length=60)  # sizes.family_key
    priority = models.CharField(max_length=12, choices=Priority)
    cores = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    released_at = models.DateTimeField(null=True)
    # Who uses it at present: all empty while it is idle
    job = models.ForeignKey("compute.Job", on_delete=models.SET_NULL, null=True, related_name="reservations")
    person = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, related_name="+")
    borrowed = models.BooleanField(default=False)  # above the guarantee of who uses it: can be stopped

    objects = ReservationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(released_at=None, node__isnull=False) | Q(released_at__isnull=False, node=None),
                name="held_while_the_node_is_there",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "priority", "family"], condition=Q(released_at=None), name="held_cores"),
            models.Index(fields=["target"], condition=Q(released_at=None), name="held_by_a_target"),
            models.Index(fields=["person", "workspace"], condition=Q(released_at=None), name="held_by_a_person"),
            models.Index(fields=["team"], condition=Q(released_at=None), name="held_by_a_team"),
        ]

    def __str__(self) -> str:
        return f"{self.cores} {self.family} cores for {self.node_name}"


class RequestState(models.TextChoices):
    """What became of a request for more."""

    OPEN = "open", _("Waits for an answer")
    APPROVED = "approved", _("Approved")
    DECLINED = "declined", _("Declined")
    WITHDRAWN = "withdrawn", _("Withdrawn")

    @property
    def tone(self) -> str:
        return {"open": "run", "approved": "ok", "declined": "bad"}.get(self.value, "idle")


class RequestQuerySet(models.QuerySet["QuotaRequest"]):
    def open(self) -> "RequestQuerySet":
        return self.filter(state=RequestState.OPEN)

    def of_studio(self) -> "RequestQuerySet":
        """Return those that its administrators answer, in whatever workspace they were made."""
        return self.filter(scope=Scope.STUDIO)

    def answerable_by(self, user: User, workspace: Workspace) -> "RequestQuerySet":
        """Return those that `user` may answer from `workspace`: its own, and for administrators the studio's."""
        found = self.none()
        if may(user, Right.EDIT_QUOTA, workspace):
            found |= self.filter(workspace=workspace).exclude(scope=Scope.STUDIO)
        if user.is_superuser and user.is_active and user.scope is None:
            found |= self.of_studio()
        return found

    def for_user(self, user: User, workspace: Workspace) -> "RequestQuerySet":
        """Return those that `user` may see from `workspace`: their own, and what they may answer or could be asked."""
        seen = self.answerable_by(user, workspace) | self.filter(workspace=workspace, asked_by=user)
        if may(user, Right.EDIT_QUOTA, workspace):
            seen |= self.filter(workspace=workspace)
        return seen


class QuotaRequest(models.Model):
    """Somebody asks for a higher limit, with what was blocked by the one there is."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="quota_requests")
    asked_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    # The limit that is to be raised, as Limit says it
    scope = models.CharField(max_length=12, choices=Scope)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, related_name="+")
    person = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    family = models.CharField(max_length=60)
    priority = models.CharField(max_length=12, choices=Priority)
    limit_was = models.PositiveIntegerField()  # cores
    cores = models.PositiveIntegerField()  # what it should become
    reason = models.CharField(max_length=1000, blank=True)
    blocked = models.JSONField(default=dict)  # see compute.quotas.asking.Blocked
    said = models.CharField(max_length=500, blank=True)  # the sentence that refused it, or warned
    back = models.TextField(blank=True)  # the path of the page with the form as it was typed
    state = models.CharField(max_length=10, choices=RequestState, default=RequestState.OPEN)
    created_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True)
    answered_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    answer = models.CharField(max_length=1000, blank=True)
    granted = models.PositiveIntegerField(null=True)  # cores

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["workspace"], condition=Q(state="open"), name="open_requests"),
        ]

    def __str__(self) -> str:
        return f"{self.cores} {self.family} {self.priority} cores"
