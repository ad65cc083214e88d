"""A few requests of each operation as schemathesis makes them up; `manage.py bench api_fuzz_failures` makes many."""

import pytest

from studio.bench import api_fuzz_failures
from studio.people.permissions import Role


@pytest.mark.django_db
def test_no_request_breaks_the_api_surprises_its_document_or_changes_what_it_may_not():
    words, known = api_fuzz_failures.fill()
    few = {role: words[role] for role in (Role.OWNER.value, Role.READER.value)}
    assert list(api_fuzz_failures.fuzz(few, known, examples=1)) == []


def test_every_role_has_its_line():
    assert set(api_fuzz_failures.MAY) == {role.value for role in Role} | {api_fuzz_failures.STRANGER}
