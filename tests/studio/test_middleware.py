"""What nobody types: a NUL in an address, in what is searched, in a form."""

from collections.abc import Callable

import pytest
from django.db import DataError
from django.test import Client, RequestFactory

from studio.middleware import StudioErrors
from studio.people.models import User, Workspace

SignIn = Callable[[User], Client]


@pytest.mark.parametrize("path", ["", "search/?q=a%00b", "runs/?q=%00&tag=%00", "compute/?q=%00", "experiments/?q=%00"])
def test_a_nul_in_a_query_is_left_out(workspace: Workspace, ana: User, as_user: SignIn, path: str) -> None:
    assert as_user(ana).get(f"/w/vision-team/{path}").status_code == 200


@pytest.mark.parametrize("path", ["/w/vision%00team/", "/w/vision-team/runs/a%00/", "/sign-in/%00/"])
def test_an_address_with_a_nul_leads_nowhere(workspace: Workspace, ana: User, as_user: SignIn, path: str) -> None:
    assert as_user(ana).get(path).status_code == 404


def test_a_nul_that_reaches_the_database_is_refused_in_words(db: None) -> None:
    request = RequestFactory().post("/")
    middleware = StudioErrors(lambda _request: pytest.fail("not asked"))
    answer = middleware.process_exception(request, DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))
    assert answer is not None
    assert answer.status_code == 400
    assert middleware.process_exception(request, DataError("integer out of range")) is None


def test_no_cache_on_the_way_keeps_what_somebody_was_shown(workspace: Workspace, ana: User, as_user: SignIn) -> None:
    browser = as_user(ana)
    for path in ("", "members/", "activity/", "runs/", "nowhere/", "usage/?format=csv", "activity/export/"):
        answer = browser.get(f"/w/vision-team/{path}")
        assert "private" in answer["Cache-Control"], path
        assert "Cookie" in answer["Vary"], path
    assert "private" in browser.get("/api/v1/me")["Cache-Control"]
    assert "no-store" in Client().get("/d/guessed/")["Cache-Control"]
