"""Search a log from its first byte to its last: `python -I -S log_search.py KIND NEEDLE CASE FROM TO MOST LINES < log`.

A program of its own, standard library only: a search can be ended at once, a pattern that never comes to an end
takes nobody's time but its own, and no page waits for it. KIND is text, regex or errors; NEEDLE is in hexadecimal
digits; matches begin at FROM or later and before TO, LINES being the lines before FROM. It prints JSON, one a line:

    {"at": [[offset, line], …]}               matches, in order, the first MOST of them
    {"to": 134217728}                         how far it has come
    {"count": 120, "to": 1073741824}          the last word
"""

import os
import re
import resource
import sys
from collections.abc import Iterator

CHUNK = 1024 * 1024  # bytes; what is in the processor's cache is searched faster
KEEP = 64 * 1024  # bytes of a longer line that the next look begins with
TELL_EVERY = 64 * 1024 * 1024
CPU_SECONDS = 30
MEMORY = 1024**3
LOWER = bytes(range(256)).lower()  # twice as fast as bytes.lower
ERRORS = re.compile(
    rb"\b(?:[A-Z]\w*(?:Error|Exception)|ERROR|Error|Exception|CRITICAL|FATAL|Fatal|FAILED|Traceback)\b"
    rb"|\b(?:error|fatal|panic):"
)
SIGNS = [b"rror", b"Exception", b"ERROR", b"CRITICAL", b"FA", b"atal", b"Traceback", b"panic:"]  # one is in each


def in_text(buffer: bytes, needle: bytes) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of each match of a text."""
    at = buffer.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = buffer.find(needle, at + len(needle))


def in_lines_with_errors(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first sign of an error of each line that has one."""
    ahead = {sign: at for sign in SIGNS if (at := buffer.find(sign)) >= 0}
    while ahead:
        sign = min(ahead, key=ahead.__getitem__)
        at = ahead[sign]
        line = buffer.rfind(b"\n", max(0, at - 1000), at) + 1
        end = buffer.find(b"\n", at)
        end = len(buffer) if end < 0 else end
        found = ERRORS.search(buffer, line or max(0, at - 1000), min(end, at + 1000))
        if found:
            yield found.span()
        beyond = end if found else at + len(sign)
        for other in [one for one, place in ahead.items() if place < beyond]:
            ahead[other] = buffer.find(other, beyond)
            if ahead[other] < 0:
                del ahead[other]


def search(kind: str, needle: bytes, same_case: bool, start: int, stop: int, most: int, lines: int) -> None:
    """Print where in standard input the matches are."""
    pattern = re.compile(needle, re.MULTILINE | (0 if same_case else re.IGNORECASE)) if kind == "regex" else None
    needle = needle if same_case else needle.translate(LOWER)
    base, count, told = start, 0, start
    while True:
        # What begins before TO may end behind it. What is left of one look is read again with the next.
        buffer = os.pread(0, max(0, min(CHUNK + KEEP, stop + KEEP - base)), base)
        last = len(buffer) < CHUNK + KEEP
        if last:
            cut = len(buffer)
        elif kind == "text":
            cut = max(0, len(buffer) - len(needle) + 1)
        else:
            cut = buffer.rfind(b"\n") + 1 or CHUNK
        if kind == "text":
            spans = in_text(buffer if same_case else buffer.translate(LOWER), needle)
        elif pattern:
            spans = (match.span() for match in pattern.finditer(buffer))
        else:
            spans = in_lines_with_errors(buffer)
        found, counted = [], 0
        for at, end in spans:
            if at >= cut or base + at >= stop:
                break
            if end == at:
                continue  # nothing is no match
            count += 1
            cut = max(cut, min(end, len(buffer)))
            if count <= most:
                lines += buffer.count(b"\n", counted, at)
                counted = at
                found.append(f"[{base + at}, {lines + 1}]")
            elif kind == "errors":
                break
        lines += buffer.count(b"\n", counted, cut)
        base += cut
        if found:
            tell(f'{{"at": [{", ".join(found)}]}}')
        elif base - told >= TELL_EVERY:
            told = base
            tell(f'{{"to": {base}}}')
        if last or base >= stop or (kind == "errors" and count >= most):
            tell(f'{{"count": {count}, "to": {min(base, stop)}}}')
            return


def tell(words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kind, needle, case, *numbers = sys.argv[1:]
    try:
        search(kind, bytes.fromhex(needle), case == "same", *map(int, numbers))
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more
