"""The queue without a mouse: own runs change places, the focus stays, and rows keep still under whoever uses them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from compute.models import Job
from compute.states import JobState
from runs.models import Attempt, Experiment, Run
from runs.states import RunStatus
from studio.live import nudge
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster


@pytest.fixture
def waiting(workspace: Workspace, ana: User) -> list[Run]:
    """Let three runs of Ana wait, a, b and c."""
    cluster, made = make_cluster(workspace), []
    home = Experiment.objects.create(workspace=workspace, name="digits", created_by=ana)
    came = timezone.now() - timedelta(hours=1)
    for number, name in enumerate("abc", 1):
        run = Run.objects.create(
            workspace=workspace, experiment=home, number=number, run_id=f"digits_{number}", display_name=f"run_{name}",
            target=cluster, target_name=cluster.name, submitted_by=ana, status=RunStatus.QUEUED,
        )  # fmt: skip
        job = Job.objects.create(
            target=cluster, run_id=run.run_id, run_name=run.display_name, submitted_by=ana,
            state=JobState.WAITING, enqueued_at=came + timedelta(minutes=number),
        )  # fmt: skip
        Attempt.objects.create(run=run, number=1, job=job)
        made.append(run)
    return made


def test_own_runs_are_moved_by_keyboard_and_rows_keep_still_meanwhile(
    page: Page, sign_in: Callable[[Page, User], None], ana: User, waiting: list[Run]
) -> None:
    sign_in(page, ana)
    page.goto("/w/vision-team/queue/")
    names = page.locator("#queue-table tbody a.name")
    expect(names).to_have_text(["run_a", "run_b", "run_c"])
    expect(page.locator("[data-live-state]").first).to_have_text("live")
    up = page.locator(f"#up-{waiting[2].pk}")
    up.focus()
    page.keyboard.press("Enter")
    expect(names).to_have_text(["run_a", "run_c", "run_b"])
    expect(up).to_be_focused()
    page.keyboard.press("Enter")
    expect(names).to_have_text(["run_c", "run_a", "run_b"])
    expect(page.locator(f"#down-{waiting[2].pk}")).to_be_focused()  # it can go up no more
    Job.objects.filter(run_id=waiting[1].run_id).update(priority=100)
    nudge(ana.workspaces.get().group, "queue:moved")
    expect(page.locator("[data-still-note]")).to_be_visible()
    expect(names).to_have_text(["run_c", "run_a", "run_b"])
    page.locator("select[name=target]").first.focus()
    expect(names).to_have_text(["run_b", "run_c", "run_a"])
    page.get_by_role("checkbox", name="Select run_a").check()
    page.get_by_role("button", name="Withdraw…").click()
    page.get_by_role("button", name="Cancel runs").click()
    expect(names).to_have_text(["run_b", "run_c"])
