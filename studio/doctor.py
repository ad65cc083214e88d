"""Looks at everything the studio needs, from beside it, and says in words what is wrong and how to mend it."""

import asyncio
import os
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.core.cache import cache
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

PATIENCE = 5.0  # seconds for an answer
TICK_IS_OLD_AFTER = 40.0  # seconds; the clock is heard every 10
WARN_FREE, BAD_FREE = 5e9, 0.5e9  # bytes of a disk
TAMPERED = "Somebody changed it in the database. Compare with a backup and with exports; see README.md."
START = "Start it (python3 manage.py up, or its unit), or mend what its log says."


class Word(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, and somebody should know
    BAD = "bad"  # it does not work


@dataclass(frozen=True)
class Finding:
    word: Word
    what: str
    mend: str = ""  # what to do


ok, warn, bad = (partial(Finding, word) for word in Word)
Look = Callable[[], Iterator[Finding]]


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; what cannot even be looked at is bad, and what broke it is told once."""
    broken = False  # the database, without which some looks cannot be made
    for look in LOOKS:
        try:
            for finding in look():
                broken = broken or (look is database and finding.word == Word.BAD)
                yield finding
        except DatabaseError:
            mend = "It is kept in the database: see there." if broken else "Run: python3 manage.py prepare"
            yield bad(f"The {SUBJECTS.get(look, look.__name__)} could not be looked at.", mend)
        except Exception as exc:  # whatever it is, the other looks are wanted too
            yield bad(f"{look.__name__.replace('_', ' ')}: {_words(exc)}", "See the studio's logs, and README.md.")


# What is reachable


def database() -> Iterator[Finding]:
    connection.settings_dict["OPTIONS"].pop("pool", None)  # which would wait, and not say for what
    try:
        connection.ensure_connection()
        plan = MigrationExecutor(connection)
    except DatabaseError as exc:
        yield bad(f"The database does not answer: {_words(exc)}", "Start it, or correct DATABASE_URL.")
        return
    finally:
        connection.close()
    facts = settings.DATABASES["default"]
    name = f"SQLite in {facts['NAME']}" if is_sqlite() else f"PostgreSQL at {facts['HOST'] or 'a local socket'}"
    if missing := plan.migration_plan(plan.loader.graph.leaf_nodes()):
        yield bad(f"The database ({name}) lacks {len(missing)} migrations.", "Run: python3 manage.py prepare")
    else:
        yield ok(f"The database answers: {name}, up to date.")


def broker() -> Iterator[Finding]:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as client:
        try:
            facts: dict[str, Any] = client.info()
        except redis.RedisError as exc:
            yield bad(f"The broker does not answer: {_words(exc)}", "Start it, or correct REDIS_URL.")
            return
    name = "Valkey" if "valkey_version" in facts else "Redis"
    yield ok(f"The broker answers: {name} {facts.get('valkey_version') or facts['redis_version']}.")
    if not facts.get("aof_enabled"):
        mend = "Set `appendonly yes` in its configuration."
        yield warn("The broker keeps no append-only file: what is queued is lost with a restart of it.", mend)
    elif facts.get("aof_last_write_status") != "ok":
        yield bad("The broker cannot write its append-only file.", "Make room on its disk.")
    if facts.get("maxmemory_policy", "noeviction") != "noeviction":
        mend = "Set `maxmemory-policy noeviction`."
        yield warn(f"The broker may throw tasks away when its memory is full ({facts['maxmemory_policy']}).", mend)


def channel_layer() -> Iterator[Finding]:
    async def hear() -> bool:
        layer = get_channel_layer()
        if layer is None:
            return False
        group, key = f"doctor.{uuid4().hex}", uuid4().hex
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        await layer.group_send(group, {"type": "doctor", "key": key})
        message = await asyncio.wait_for(layer.receive(channel), PATIENCE)
        await layer.group_discard(group, channel)
        return bool(message["key"] == key)

    try:
        heard = asyncio.run(hear())
    except (OSError, redis.RedisError, TimeoutError) as exc:
        yield bad(f"Nudges to open pages do not arrive: {_words(exc)}", "They travel through the broker: see there.")
        return
    yield ok("Nudges to open pages arrive.") if heard else bad("Nudges to open pages do not arrive.")


def web() -> Iterator[Finding]:
    url = settings.PUBLIC_URL.rstrip("/") + "/healthz"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  the studio's own address
            yield ok(f"The web process answers at {settings.PUBLIC_URL} ({answer.status}).")
    except (OSError, ValueError) as exc:
        why = (
            f"{exc.code} {exc.reason}"
            if isinstance(exc, urllib.error.HTTPError)
            else _words(getattr(exc, "reason", exc))
        )
        yield bad(f"The web process does not answer at {url}: {why}", START)


def workers() -> Iterator[Finding]:
    """Ask a worker of each machine that ever had one."""
    from compute.models import Host
    from studio.celery import answer

    asked = {name: f"doctor.{uuid4().hex}" for name in Host.objects.order_by("name").values_list("name", flat=True)}
    try:
        for name, key in asked.items():
            answer.apply_async((key,), expires=PATIENCE, retry=False, queue=f"host.{name}")
        _until(lambda: len(cache.get_many(asked.values())) == len(asked))
        heard = cache.get_many(asked.values())
    except (OSError, redis.RedisError, answer.OperationalError) as exc:
        yield bad(f"No worker can be asked: {_words(exc)}", "Tasks travel through the broker: see there.")
        return
    for name, key in asked.items():
        if key in heard:
            yield ok(f"A worker answers on {name}.")
        else:
            said = (
                f"No worker answers on {name} within {PATIENCE:.0f} s: nothing of its clusters is started or followed."
            )
            yield bad(said, START)
    if not asked:
        yield bad("There has never been a worker: nothing is started or followed.", START)


def clock() -> Iterator[Finding]:
    try:
        heard = cache.get("studio.tick")
    except (OSError, redis.RedisError) as exc:
        yield bad(f"The clock (beat) cannot be asked for: {_words(exc)}", "It is heard through the broker: see there.")
        return
    if heard is None or time.time() - heard > TICK_IS_OLD_AFTER:
        when = f"for {time.time() - heard:.0f} s" if heard else "yet"
        yield bad(f"The clock (beat) was not heard {when}: nobody looks after what a crash left.", START)
    else:
        yield ok(f"The clock (beat) was heard {time.time() - heard:.0f} s ago.")


def activity() -> Iterator[Finding]:
    """Look through every chain of the activity, from its first entry."""
    from studio.people.chain import verify_all

    found = verify_all()
    for name, verdict in found:
        if not verdict.is_whole:
            mend = "Start the clock (beat), which links them." if verdict.why == "late" else TAMPERED
            yield bad(f"The activity of {name} is not whole: {verdict.problem}.", mend)
    if all(verdict.is_whole for _name, verdict in found):
        entries = sum(verdict.length for _name, verdict in found)
        ends = ", ".join(f"{name} {verdict.length:,} {verdict.last_hash[:16]}" for name, verdict in found)
        yield ok(f"The activity is whole: {entries:,} entries in {len(found)} chains{f' ({ends})' if ends else ''}.")


def quotas() -> Iterator[Finding]:
    from compute.quotas import ledger

    try:
        wrong = ledger.check()
    except DatabaseError as exc:
        yield bad(f"The quota ledger cannot be read: {_words(exc)}", "It is kept in the database: see there.")
        return
    if wrong:
        mend = "`manage.py ledger` says all of it; `manage.py ledger --rebuild` makes it again from the nodes."
        yield bad(f"The quota ledger is wrong in {len(wrong)} places: {wrong[0].what}.", mend)
    else:
        yield ok("The quota ledger says what the nodes do.")


def mail() -> Iterator[Finding]:
    """Sign in to the mail server, and send nothing."""
    from studio.notifications.mail import is_set_up

    if not is_set_up():
        mend = "Name a mail server in EMAIL_HOST (README.md has the variables), and restart."
        yield warn("E-mail is not set up: nobody is written to, not even who forgot their password.", mend)
        return
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with get_connection(timeout=PATIENCE):
            yield ok(f"The mail server answers: {where}.")
    except OSError as exc:  # as all of smtplib's are
        yield bad(
            f"The mail server {where} does not answer as it should: {_words(exc)}", "Correct EMAIL_HOST and its kin."
        )


# Files


def folders() -> Iterator[Finding]:
    data = Path(settings.DATA_DIR)
    named = {
        "The data directory": data,
        "The store of logs": Path(settings.LOG_DIR),
        "The store of files": Path(settings.SNAPSHOT_DIR),
        "The folder of jobs": Path(settings.JOB_DIR),
    }
    if not data.exists():
        yield bad(
            f"There is no data directory {data}.",
            "Put it back, name it in STUDIO_DATA, or start a studio there: python3 manage.py up",
        )
        return
    for name, folder in named.items():
        if folder != data and folder.parent == data and not folder.exists():
            continue  # made with the first thing that is kept in it
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as exc:
            yield bad(
                f"{name} {folder} cannot be written to: {_words(exc)}", "Give it to the studio's user, or make it."
            )
            continue
        if folder == data:
            yield ok(f"{name} {folder} can be written to.")
    mode = stat.S_IMODE(data.stat().st_mode) if data.exists() else 0
    if mode & 0o066:  # passing through is no looking: runs under users of their own do that
        yield warn(f"Others of this machine can look into {data} (mode {mode:o}).", f"Run: chmod 700 {data}")


def disks() -> Iterator[Finding]:
    """Look at each disk once."""
    seen, stores = set(), (settings.LOG_DIR, settings.SNAPSHOT_DIR, settings.JOB_DIR, settings.ENVIRONMENT_DIR)
    for folder in (settings.DATA_DIR, *stores):
        if not Path(folder).exists() or (device := Path(folder).stat().st_dev) in seen:
            continue
        seen.add(device)
        facts = shutil.disk_usage(folder)
        said = f"{facts.free / 1e9:.1f} GB of {facts.total / 1e9:.0f} GB are free on the disk of {folder}."
        mend = "Make room: archived runs' outputs, old environments."
        yield bad(said, mend) if facts.free < BAD_FREE else warn(said, mend) if facts.free < WARN_FREE else ok(said)


# What is safe


def secrets() -> Iterator[Finding]:
    for file in _secret_files():
        if file.is_file() and (mode := stat.S_IMODE(file.stat().st_mode)) & 0o077:
            yield bad(f"{file} holds a secret and others can read it (mode {mode:o}).", f"Run: chmod 600 {file}")
    if not (key := _secret_key()):
        mend = "Set SECRET_KEY to a long random text (`manage.py up` makes one by itself)."
        yield bad("There is no SECRET_KEY: nobody can sign in.", mend)
    elif len(key) < 50 or len(set(key)) < 5:
        mend = (
            "Make a longer one (python3 -c 'import secrets; print(secrets.token_urlsafe(64))'), and keep this one in "
        )
        mend += "SECRET_KEY_FALLBACKS for a while."
        yield warn("SECRET_KEY is short, so sessions could be forged.", mend)
    if settings.SEAL_KEYS:
        yield ok("There is a key to seal credentials with.")
    else:
        mend = "Set SEAL_KEYS to a long random text (`manage.py up` makes one by itself), and restart."
        yield warn("There is no key to seal credentials with, so nothing that needs one can be attached.", mend)


def safety() -> Iterator[Finding]:
    if settings.DEBUG:
        yield bad("DEBUG is on: every error shows settings and code to whoever meets it.", "Take DEBUG out.")
    if "*" in settings.ALLOWED_HOSTS:
        yield bad("ALLOWED_HOSTS lets any name in: links in mails and pages can be forged.", "Name the studio's own.")
    address = urlsplit(settings.PUBLIC_URL)
    if address.scheme == "https":
        yield ok(f"People reach the studio over TLS, at {settings.PUBLIC_URL}.")
        for found in run_checks(tags=[Tags.security], include_deployment_checks=True):
            if not found.is_silenced():
                yield warn(f"{found.msg.splitlines()[0]} ({found.id})", found.hint or "")
    elif not _is_loopback(address.hostname or ""):
        mend = "Put a proxy with TLS in front and set STUDIO_URL=https://… (README.md has the lines)."
        yield warn(
            f"People reach the studio over plain HTTP, at {settings.PUBLIC_URL}: passwords can be overheard.", mend
        )


def sign_in() -> Iterator[Finding]:
    """Say when nothing but passwords keeps people out of a studio that others can reach."""
    from allauth.mfa.models import Authenticator

    from studio.people.models import User
    from studio.signin.models import Provider, SignInRules

    if Provider.objects.filter(is_enabled=True).exists():
        words = "and passwords do, too" if SignInRules.now().passwords_allowed else "and passwords do not"
        yield ok(f"People sign in with a provider, {words}.")
        return
    if _is_loopback(urlsplit(settings.PUBLIC_URL).hostname or ""):
        return
    alone = User.objects.filter(is_active=True).exclude(pk__in=Authenticator.objects.values("user")).count()
    if alone:
        mend = "Set up a provider under Studio, Sign-in, or have people add a passkey or an authenticator app."
        yield warn(f"A password alone lets {alone} people in from outside.", mend)


def users() -> Iterator[Finding]:
    from compute.isolation import means, what_holds

    if means().is_root:
        yield warn(
            "The studio runs as root; each run has a user of its own, but a flaw in the studio would be the machine's.",
            "For a studio on the network: run it as a user of its own, on a machine of its own.",
        )
    for fact in what_holds():
        said = f"{fact.what.rstrip('.')}: {fact.how}."
        yield ok(said) if fact.holds else warn(said, fact.mend)


SUBJECTS: dict[Look, str] = {activity: "activity", workers: "workers", sign_in: "ways to sign in"}
LOOKS: list[Look] = [
    folders, database, activity, broker, channel_layer, web, workers, clock, mail, quotas, disks, secrets, safety,
    sign_in, users,
]  # fmt: skip


def is_sqlite() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"))


def _secret_files() -> list[Path]:
    names = ("SECRET_KEY_FILE", "SEAL_KEYS_FILE", "DATABASE_URL_FILE", "REDIS_URL_FILE")
    named = [Path(os.environ[name]) for name in names if os.environ.get(name)]
    return [*(Path(settings.DATA_DIR) / name for name in ("secret_key", "seal_keys", "queue_password")), *named]


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:  # as Django has it where it is empty
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _until(true: Callable[[], Any]) -> Any:
    """Ask again and again for a while, and return what was said in the end."""
    deadline = time.monotonic() + PATIENCE
    while not (said := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return said


def _words(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
