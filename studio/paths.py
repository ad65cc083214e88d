"""Where the studio keeps its files. Standard library only: `manage.py up` reads this before there is an environment."""

import hashlib
import os
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107, and Valkey appends nothing


def data_dir() -> Path:
    """Return the data directory: STUDIO_DATA, else `.data` in the checkout."""
    return Path(os.environ.get("STUDIO_DATA") or CHECKOUT / ".data").absolute()


def socket_path(data: Path) -> Path:
    """Return where the embedded Valkey listens: in the data directory, or in a short one when that is too deep."""
    here = data / "valkey.sock"
    if len(os.fsencode(here)) <= LONGEST_SOCKET_PATH:
        return here
    short = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"studio-{os.getuid()}-{short}" / "valkey.sock"


def own_queue_url(data: Path) -> str:
    """Return the address of the embedded Valkey, with the password that `manage.py up` gave it."""
    try:
        password = (data / "queue_password").read_text().strip()
    except OSError:
        return f"unix://{socket_path(data)}"
    return f"unix://:{password}@{socket_path(data)}"


def write_privately(place: Path, text: str) -> None:
    """Write a file that its owner alone reads, whole or not at all."""
    fresh = place.with_name(f"{place.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(place)


def last_url(data: Path) -> str:
    """Return the address under which `manage.py up` served last."""
    try:
        return (data / "url").read_text().strip().rstrip("/")
    except OSError:
        return "http://127.0.0.1:8000"
