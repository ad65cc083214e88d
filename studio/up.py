"""`manage.py up`: looks whether the studio can start here, starts its processes, and says where it is.

Nothing of Django is imported before the data directory is locked and the port is open, so that what stands in
the way is said at once.
"""

import argparse
import errno
import fcntl
import json
import os
import secrets
import socket
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio.own_queue import has_own_queue, valkey
from studio.paths import CHECKOUT, data_dir, socket_path, write_privately
from studio.supervisor import Child, Refused, Supervisor, last_lines, say

PORT = 8000
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104
READY_WITHIN = 60.0  # seconds, on a slow and busy machine
# What the processes share in memory. Modules that open something when imported stay out.
FOR_PAGES = (
    "channels.auth",
    "channels.routing",
    "studio.celery",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)
FOR_TASKS = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "kombu.transport.redis",
    "studio.urls",
)
ERRORS_AT_ONCE = 5  # lines of a log shown in the terminal per look


@dataclass(frozen=True)
class Options:
    host: str = "127.0.0.1"
    port: int = PORT
    data: Path | None = None
    sample: bool = True


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="manage.py up", description="Start the studio on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=_port, default=PORT, help="port to listen on (8000; 0: any that is free)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where everything is kept (.data in the checkout)")
    parser.add_argument("--no-sample", dest="sample", action="store_false", help="submit no sample run at first")
    return Options(**vars(parser.parse_args(arguments)))


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        return up(options)
    except Refused as problem:
        print(problem, file=sys.stderr)
        return 1


def up(options: Options) -> int:
    """Run the studio until a signal ends it. Raises Refused when it cannot start here."""
    started = time.monotonic()
    data = prepare_data_dir((options.data or data_dir()).expanduser().absolute())
    lock = take_lock(data)
    listening = listen(options.host, options.port)
    make_keys(data)
    port = int(listening.getsockname()[1])
    url = set_environment(options.host, port, data)
    logs = data / "processes"
    logs.mkdir(exist_ok=True)
    if not (data / "url").exists():
        say(f"The first start with {data}: the database and the pages are made ready …")
    supervisor = Supervisor(logs / "pids.json", private=[lock])
    try:
        if has_own_queue():
            supervisor.start(valkey(data, logs))
        _set_up()
        _load(FOR_PAGES)
        facts = _prepared(supervisor, logs, options)
        if facts is None:
            return 0 if supervisor.stopping else 1
        supervisor.private.append(listening.fileno())
        supervisor.start(Child("web", partial(web, listening.dup()), logs / "web.log"))
        _load(FOR_TASKS)  # the web process starts meanwhile
        supervisor.start(Child("worker", worker, logs / "worker.log"))
        supervisor.start(Child("beat", beat, logs / "beat.log"))
        ready = wait_until_ready(supervisor, listening.getsockname()[:2])
        if supervisor.stopping:
            return 0
        (data / "url").write_text(url)
        welcome(options, url, data, facts, time.monotonic() - started if ready else None)
        if options.sample and facts["sample"]:
            supervisor.start(Child("sample", follow_sample, None, once=True))
        watch(supervisor)
        return 0
    finally:
        _farewell(supervisor, data, started)
        os.close(lock)


# What must be so before anything starts


def prepare_data_dir(data: Path) -> Path:
    """Make the data directory, for this user alone. Raises Refused when it cannot be written to."""
    other = "Name another directory with --data, or mend this one."
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(PermissionError):  # somebody else's, and open to us: as they want it
            data.chmod(0o700)
        with tempfile.TemporaryFile(dir=data):
            pass
        socket_path(data).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as problem:
        raise Refused(f"{problem.filename} is a file where a directory is needed. {other}") from problem
    except OSError as problem:
        raise Refused(f"The data directory {data} cannot be written to: {_words(problem)}. {other}") from problem
    return data


def take_lock(data: Path) -> int:
    """Lock the data directory for this process and return the lock's file. Raises Refused when another has it."""
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        where = f" at {(data / 'url').read_text()}" if (data / "url").exists() else ""
        raise Refused(
            f"The studio of {data} runs already{where} (process {pid}). Use that one, stop it with `kill {pid}`, "
            "or start another one with --data DIR --port PORT."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def listen(host: str, port: int) -> socket.socket:
    """Open the port. Raises Refused with what to do when that is not possible."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as problem:
        raise Refused(f"“{host}” is no address of this machine: {problem.strerror}. Use --host 127.0.0.1.") from problem
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(2048)
    except OSError as problem:
        listening.close()
        if problem.errno == errno.EADDRINUSE:
            raise Refused(
                f"Port {port} of {host} is in use by another program. Choose another one, for example: "
                f"python3 manage.py up --port {port + 1 if port < 65535 else PORT}"
            ) from problem
        if problem.errno == errno.EACCES:
            raise Refused(
                f"Port {port} needs more rights than this user has. Choose one above 1023 with --port."
            ) from problem
        if problem.errno == errno.EADDRNOTAVAIL:
            raise Refused(
                f"“{host}” is no address of this machine. Use --host 127.0.0.1, or 0.0.0.0 for all."
            ) from problem
        raise Refused(
            f"Port {port} of {host} cannot be opened: {_words(problem)}. Choose another with --port."
        ) from problem
    return listening


def make_keys(data: Path) -> None:
    """Make what signs sessions, what seals credentials, and the queue's password, on the first start."""
    for variable, name in (("SECRET_KEY", "secret_key"), ("SEAL_KEYS", "seal_keys"), ("REDIS_URL", "queue_password")):
        if os.environ.get(variable) or os.environ.get(f"{variable}_FILE") or (data / name).exists():
            continue
        write_privately(data / name, secrets.token_urlsafe(64))


def set_environment(host: str, port: int, data: Path) -> str:
    """Set what the settings read, unless it is set already, and return the studio's address for people."""
    shown = address_for_people(host)
    bracketed = f"[{shown}]" if ":" in shown else shown
    os.environ["STUDIO_DATA"] = str(data)
    os.environ.setdefault("STUDIO_HOST_NAME", name_of_host(data))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    url = os.environ.setdefault("STUDIO_URL", f"http://{bracketed}:{port}")
    names = [*LOOPBACK, urlsplit(url).hostname or "", bracketed]
    if host in ANYWHERE:
        names.append(socket.gethostname().lower())
    os.environ.setdefault("ALLOWED_HOSTS", ",".join(dict.fromkeys(name for name in names if name)))
    if url.startswith("https://"):  # the proxy that ends TLS speaks plain HTTP with us
        os.environ.setdefault("CSRF_TRUSTED_ORIGINS", "https://" + urlsplit(url).netloc)
    return url.rstrip("/") + "/"


def name_of_host(data: Path) -> str:
    """Return this machine's name as it was at the first start: clusters stay its own when it is renamed."""
    file = data / "host_name"
    if not file.exists():
        file.write_text(socket.gethostname())
    return file.read_text().strip()


def address_for_people(host: str) -> str:
    """Return `host`, or for “any address” the one under which other machines reach this one."""
    if host not in ANYWHERE:
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("2001:db8::1" if ":" in host else "192.0.2.1", 9))  # sends nothing: it only chooses a route
        return str(probe.getsockname()[0])
    return "::1" if ":" in host else "127.0.0.1"


def _words(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()


# The processes


def _set_up() -> None:
    """Set Django up. Raises Refused when a setting is wrong."""
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as problem:
        raise Refused(f"A setting is wrong: {problem}") from problem


def _load(modules: tuple[str, ...]) -> None:
    """Import what processes that start later share."""
    for module in modules:
        import_module(module)


def _prepared(supervisor: Supervisor, logs: Path, options: Options) -> dict[str, Any] | None:
    """Bring the database and the static files up to date, and return what the start is to say; None: stop."""
    read, write = os.pipe()

    def prepare() -> None:
        from django.core.management import call_command

        os.close(read)
        with os.fdopen(write, "w") as answer:
            call_command("prepare", stdout=answer)

    child = supervisor.start(Child("prepare", prepare, logs / "prepare.log", once=True))
    os.close(write)
    import_module("studio.urls")  # meanwhile
    code = supervisor.wait_for(child)
    with os.fdopen(read) as answer:
        facts = answer.read()
    if code is None:
        return None
    supervisor.forget(child)
    if code:
        for line in last_lines(child):
            say(f"  prepare | {line}")
        raise Refused(f"The database could not be prepared; the whole story is in {child.log}.")
    result: dict[str, Any] = json.loads(facts)
    return result


def web(listening: socket.socket) -> None:
    """Serve pages and websockets. The socket is the supervisor's, so a restart refuses nobody."""
    import uvicorn

    from studio.asgi import application

    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",  # it waits for slow viewers
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listening])


def worker() -> int:
    """Do what is queued. Threads, because a step waits for other processes and never computes."""
    os.environ["C_FORCE_ROOT"] = "1"  # tasks are JSON; who may queue one owns this user's files anyway
    from studio.celery import app

    steps = app.Worker(
        pool="threads", concurrency=8, loglevel="INFO", without_gossip=True, without_mingle=True, without_heartbeat=True
    )
    steps.start()
    return int(steps.exitcode or 0)


def beat() -> None:
    """Queue what is done again and again: exactly one process does that."""
    from studio.celery import app

    app.Beat(loglevel="INFO", quiet=True).run()


def follow_sample() -> None:
    from django.core.management import call_command

    call_command("follow_sample")


# What a person sees


def wait_until_ready(supervisor: Supervisor, address: tuple[str, int]) -> bool:
    """Wait until the web process answers that it reaches its database; say whether it does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])  # noqa: S104
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and not supervisor.stopping:
        if is_healthy(host, address[1]):
            return True
        supervisor.step(0.05)
    return False


def is_healthy(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0) as there:
            there.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = there.recv(64).split(b" ")
    except OSError:
        return False
    return len(status) > 1 and status[1] in {b"200", b"400"}  # 400: ALLOWED_HOSTS leaves “localhost” out


def welcome(options: Options, url: str, data: Path, facts: dict[str, Any], took: float | None) -> None:
    if took is None:
        say(f"The studio does not answer after {READY_WITHIN:.0f} s; {data / 'processes' / 'web.log'} may say why.")
    else:
        say(f"The studio is ready after {took:.1f} s:  {url}")
    if facts["link"]:
        say(f"Sign in as {facts['user']}, once and within the hour:  {url.rstrip('/')}{facts['link']}")
    else:
        say(f"A new sign-in link:  {_with_data(data)}python3 manage.py signinlink {facts['user']}")
    if facts["runs"]:
        say(f"{count(facts['runs'], 'run')} went on meanwhile, and the studio follows {_them(facts['runs'])} again.")
    if options.host in ANYWHERE or not options.host.startswith(("127.", "localhost", "::1")):
        say(
            f"Listening on {options.host}: the network reaches the studio, over plain HTTP. Whoever may submit runs "
            "executes code here as this user; put a proxy with TLS in front (see README.md)."
        )
    say(f"Data in {data}. Ctrl-C stops the studio; runs go on.")


def watch(supervisor: Supervisor) -> None:
    """See to the processes until a signal comes, and show the errors they write into their logs."""
    errors: dict[Path, int] = {}
    while not supervisor.stopping:
        supervisor.step(1.0)
        for child in supervisor.children:
            if child.log is not None:
                for line in new_errors(child.log, errors):
                    say(f"! {child.name} | {line}")


def new_errors(log: Path, seen: dict[Path, int]) -> list[str]:
    """Return the lines of `log` that tell of an error since the last look; the first look only finds its end."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return []
    start = seen.get(log, size)
    seen[log] = size
    if size <= start:
        return []
    with log.open("rb") as file:
        file.seek(max(start, size - 100_000))
        lines = file.read(size - start).decode(errors="replace").splitlines()
    found = [line for line in lines if " ERROR " in line or " CRITICAL " in line]
    rest = len(found) - ERRORS_AT_ONCE
    return found[:ERRORS_AT_ONCE] + ([f"and {rest} more, in {log}"] if rest > 0 else [])


def _farewell(supervisor: Supervisor, data: Path, started: float) -> None:
    began = time.monotonic()
    supervisor.stop()
    if has_own_queue():
        socket_path(data).unlink(missing_ok=True)
    if supervisor.signals:
        going = runs_in_progress(data)
        rest = (
            f" {count(going, 'run')} {'goes' if going == 1 else 'go'} on; the next start finds {_them(going)} again."
            if going
            else ""
        )
        say(f"\nStopped every process in {time.monotonic() - began:.1f} s.{rest}")


def runs_in_progress(data: Path) -> int:
    """Count the jobs whose processes go on without the studio (0 where the database is not a file here)."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{data / 'db.sqlite3'}?mode=ro", uri=True)) as rows:
        if not os.environ.get("DATABASE_URL"):
            query = "SELECT count(*) FROM compute_job WHERE state IN ('Starting', 'Running', 'Ending')"
            return int(rows.execute(query).fetchone()[0])
    return 0


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


def _with_data(data: Path) -> str:
    return "" if data == CHECKOUT / ".data" else f"STUDIO_DATA={data} "
