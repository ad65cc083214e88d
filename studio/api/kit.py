"""What the routers share: lists in pages, texts without surprises, forms of the pages, and keys that make once."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID, uuid4, uuid5

from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field

from studio.errors import NotValid
from studio.http import StudioRequest

T = TypeVar("T")
MOST = 200  # rows of one answer
USUAL = 50
FARTHEST = 100_000  # rows that a list goes on where it is sorted by what has no key: filter instead
KEYS = UUID("5f3c1d52-66cb-4c5f-9a0e-6c3b7a1f9d10")  # the space of names in which keys become tokens of forms


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(_("A text cannot hold a zero byte."))
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Tags = dict[Text, Text]


class Asked(Schema):
    """What a program sends. A name that is not known is refused: it would be a wish that nobody hears."""

    model_config = ConfigDict(extra="forbid")


class Continued(Asked):
    """Where a list goes on."""

    cursor: Text = Field("", max_length=300, description="Where to go on: it stands in `next` and in the header Link.")


class Paging(Continued):
    """Which part of a list, and how much of it."""

    limit: int = Field(USUAL, ge=1, le=MOST, description="Rows of one answer.")


class Listed(Schema, Generic[T]):
    """One part of a list, and the address of the next."""

    items: list[T]
    next: str | None = Field(None, description="The address of the next part; null: this is the last one.")


def sorts(keys: Mapping[str, Any], usual: str) -> Any:
    """Return a field that takes one of `keys`, with a “-” before it for the other way round."""
    said = "|".join(map(re.escape, keys))
    return Field(usual, pattern=rf"^-?({said})$", description="“-” before it turns the order round.")


def place_in(cursor: str, *kinds: type) -> list[Any] | None:
    """Return what `cursor` holds, values of these kinds; None where there is no cursor. Raises NotValid."""
    if not cursor:
        return None
    try:
        held = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except ValueError:
        held = None
    whole = isinstance(held, list) and [type(one) for one in held] == list(kinds)
    if not whole or not all(map(_can_be_asked, held)):
        raise no_cursor()
    return list(held)


def _can_be_asked(held: Any) -> bool:
    """Say whether a database takes what a cursor holds: an id, or a text without what no text has."""
    if isinstance(held, int):
        return 0 <= held < 2**63
    return not isinstance(held, str) or not re.search("[\0\ud800-\udfff]", held)


def cursor_of(*place: Any) -> str:
    """Return the cursor that holds a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def no_cursor() -> NotValid:
    return NotValid([("cursor", _("It is none that this list gave out. Leave it away to begin anew."))])


def moment_of(text: str) -> datetime:
    """Return the moment that a cursor holds. Raises NotValid."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise no_cursor() from None
    if moment.tzinfo is None or not 1970 < moment.year < 9000:
        raise no_cursor()
    return moment


def listed(request: HttpRequest, response: HttpResponse, rows: list[T], *place: Any) -> dict[str, Any]:
    """Return one part of a list; the next begins at `place`, and where there is none this is the last."""
    if not place:
        return {"items": rows, "next": None}
    query = [(key, value) for key, values in request.GET.lists() for value in values if key != "cursor"]
    address = request.build_absolute_uri(f"{request.path}?{urlencode([*query, ('cursor', cursor_of(*place))])}")
    response["Link"] = f'<{address}>; rel="next"'
    return {"items": rows, "next": address}


def once(request: StudioRequest, what: str) -> UUID:
    """Return the token under which this request makes one thing, however often it is sent with one Idempotency-Key.

    Each person, workspace and kind of thing has keys of its own.
    """
    key = request.headers.get("Idempotency-Key", "").strip()
    if not key:
        return uuid4()
    if len(key) > 255:
        raise NotValid([("Idempotency-Key", _("It has up to %(n)d characters.") % {"n": 255})])
    return uuid5(KEYS, f"{request.user.pk}/{request.workspace.pk}/{what}/{key}")


def not_valid(form: BaseForm, names: Mapping[str, str] | None = None) -> NotValid:
    """Return the errors of a page's form; `names` maps its fields to the API's, where they are called otherwise."""
    said = []
    for name, errors in form.errors.items():
        called = "" if name == NON_FIELD_ERRORS else (names or {}).get(name, name)
        said += [(called, str(error)) for error in errors]
    return NotValid(said)
