"""Ana owns, Ben is a data scientist in her team, Rita reads, Cleo is a stranger."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.app.base import Celery
from django.core.cache import cache
from django.db import connection
from django.test import Client

from studio.people.actions import create_workspace, set_role
from studio.people.models import User, Workspace
from studio.people.permissions import Role
from tests.compute.tiny import with_tiny

__all__ = ["with_tiny"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let tests that commit empty their tables: SQLite has no TRUNCATE, and the activity refuses to be deleted."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER people_activity_is_not_removed")


@pytest.fixture(autouse=True)
def data_in_a_folder_of_its_own(settings: Any, tmp_path: Path) -> None:
    """Give each test its own logs, snapshots, jobs and environments."""
    settings.LOG_DIR = tmp_path / "logs"
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"
    settings.JOB_DIR = tmp_path / "jobs"
    settings.ENVIRONMENT_DIR = tmp_path / "environments"
    cache.clear()  # how often was tried before


@pytest.fixture(autouse=True)
def queued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """Collect what would be queued, as (task name, arguments), instead of asking a broker."""
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def send_task(self: Celery, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        sent.append((name, tuple(args or ())))

    monkeypatch.setattr(Celery, "send_task", send_task)
    monkeypatch.setattr(
        "celery.app.task.Task.apply_async",
        lambda self, args=None, kwargs=None, **o: sent.append((self.name, tuple(args or ()))),
    )
    return sent


@pytest.fixture
def ana(db: None) -> User:
    return User.objects.create_user("ana", "ana@example.org", "correct horse")


@pytest.fixture
def workspace(ana: User) -> Workspace:
    return create_workspace("vision-team", ana)


@pytest.fixture
def member(workspace: Workspace, ana: User) -> Callable[[str, Role], User]:
    def make(name: str, role: Role) -> User:
        user = User.objects.create_user(name, f"{name}@example.org", "correct horse")
        set_role(workspace, user, role, by=ana)
        return user

    return make


@pytest.fixture
def ben(member: Callable[[str, Role], User]) -> User:
    return member("ben", Role.DATA_SCIENTIST)


@pytest.fixture
def rita(member: Callable[[str, Role], User]) -> User:
    return member("rita", Role.READER)


@pytest.fixture
def cleo(db: None) -> User:
    return User.objects.create_user("cleo", "cleo@example.org", "correct horse")


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in
