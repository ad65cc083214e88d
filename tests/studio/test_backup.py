"""What a backup that somebody made up may do to the machine it is restored on: nothing."""

import io
import tarfile
from pathlib import Path
from typing import Any

from studio import backup


def test_what_leads_out_of_a_backup_is_left(tmp_path: Path, settings: Any) -> None:
    settings.LOG_DIR, settings.SNAPSHOT_DIR, settings.JOB_DIR = (tmp_path / "data" / name for name in "lsj")
    outside = tmp_path / "outside"
    outside.mkdir()
    file = tmp_path / "made-up.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, kind, target in (
            ("logs/runs/a/1/std_log.txt", tarfile.REGTYPE, ""),
            ("logs/../../outside/a", tarfile.REGTYPE, ""),
            ("logs//etc/b", tarfile.REGTYPE, ""),
            ("logs/..", tarfile.SYMTYPE, "runs"),
            ("jobs/out", tarfile.SYMTYPE, str(outside)),
            ("jobs/out/c", tarfile.REGTYPE, ""),
            ("jobs/up", tarfile.SYMTYPE, "../../outside"),
            ("jobs/up/d", tarfile.REGTYPE, ""),
            ("jobs/loop", tarfile.SYMTYPE, "loop"),
            ("jobs/r/here", tarfile.SYMTYPE, "../r"),
            ("jobs/r/here/e", tarfile.REGTYPE, ""),
            ("jobs/pipe", tarfile.FIFOTYPE, ""),
            ("jobs/disk", tarfile.BLKTYPE, ""),
            ("jobs/twin", tarfile.LNKTYPE, "secret_key"),
            ("elsewhere/f", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.mtime = kind, target, 0o6777, 1_700_000_000
            member.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"text"))
    content = backup.Content(made_at="")
    with tarfile.open(file, "r:gz") as archive:
        for member in archive:
            backup._lay_out(archive, member, tmp_path / "data", content)
    assert not list(outside.iterdir())
    laid = {
        str(p.relative_to(tmp_path / "data"))
        for p in (tmp_path / "data").rglob("*")
        if not p.is_dir() or p.is_symlink()
    }
    assert laid == {"l/runs/a/1/std_log.txt", "j/out/c", "j/up/d", "j/loop", "j/r/here", "j/r/e"}
    log = settings.LOG_DIR / "runs/a/1/std_log.txt"
    assert (log.read_bytes(), log.stat().st_mode & 0o7777, log.stat().st_mtime) == (b"text", 0o755, 1_700_000_000)
    assert (settings.JOB_DIR / "r" / "e").read_bytes() == b"text"
    assert content.files == {"logs": 1, "jobs": 3}
