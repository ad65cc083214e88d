"""`manage.py translate`: brings the catalogues up to date with what the code says, and compiles them.

Needs Babel, which comes with the tests, and none of GNU gettext's programs. The compiled catalogues are
committed, so a studio that only runs needs neither.
"""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.core.management import BaseCommand
from django.utils.translation.template import templatize

CATALOGUES = Path(settings.BASE_DIR) / "studio" / "locale"
PLURALS = (1, 2)
CALLS: Any = dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"))
CALLS |= dict.fromkeys(("ngettext", "ngettext_lazy"), PLURALS)
CALLS |= dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2))
CALLS |= dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3))
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals}\\n"

"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # in the compiled header, which holds a time and must not change with it


class Command(BaseCommand):
    help = "Bring the catalogues up to date with what the code says, compile them, and count what is missing."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        template = of_the_code()
        for path in sorted(CATALOGUES.glob("*/LC_MESSAGES/django.po")):
            catalogue = of_file(path)
            catalogue.update(template, no_fuzzy_matching=True)
            with path.open("wb") as file:
                file.write(HEADER.format(language=catalogue.locale, plurals=catalogue.plural_forms).encode())
                write_po(file, catalogue, width=120, omit_header=True, include_lineno=False, ignore_obsolete=True)
            path.with_suffix(".mo").write_bytes(compiled(catalogue))
            self.stdout.write(
                f"{path.parent.parent.name}: {len(catalogue)} messages, {len(missing(catalogue))} missing"
            )


def of_the_code() -> Catalog:
    """Return what templates and Python say, untranslated."""
    catalogue = Catalog(fuzzy=False)
    for path in sources():
        name = str(path.relative_to(settings.BASE_DIR))
        text = path.read_text(encoding="utf-8")
        if path.suffix in {".html", ".txt"}:  # its indentation is none that Python could read
            text = "\n".join(line.strip() for line in templatize(text, origin=name).splitlines())
        for _line, function, found, _comments in extract_python(io.BytesIO(text.encode()), CALLS, [], {}):
            said: Any = found if isinstance(found, tuple) else (found,)
            words: list[str] = [word for word in said if isinstance(word, str)]
            if not words:
                continue  # of a variable, which some other call names
            context = words.pop(0) if str(function).startswith(("pgettext", "npgettext")) else None
            catalogue.add(words[0] if len(words) == 1 else tuple(words[:2]), locations=[(name, 1)], context=context)
    return catalogue


def sources() -> Iterator[Path]:
    """Yield what may hold words for people."""
    base = Path(settings.BASE_DIR)
    yield from sorted(path for path in (base / "templates").rglob("*.*") if path.suffix in {".html", ".txt"})
    for package in ("compute", "runs", "studio"):
        yield from sorted(path for path in (base / package).rglob("*.py") if "migrations" not in path.parts)


def of_file(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as Python's gettext reads it; the same words give the same bytes."""
    catalogue.creation_date = catalogue.revision_date = LONG_AGO
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def missing(catalogue: Catalog) -> list[str]:
    """Return what has no translation yet, or a doubtful one."""
    words = ((m, m.string if isinstance(m.string, tuple | list) else (m.string,)) for m in catalogue if m.id)
    return [str(message.id) for message, strings in words if message.fuzzy or not all(strings)]
