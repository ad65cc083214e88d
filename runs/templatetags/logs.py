"""What the log viewer's template asks of a run."""

from django import template

from runs.models import Run
from runs.streams import StreamGroup, streams_of

register = template.Library()


@register.filter
def log_groups(run: Run) -> list[StreamGroup]:
    """Return the run's logs by attempt, the newest attempt first."""
    return streams_of(run)


@register.filter
def log_name(stream: str) -> str:
    """Return the name of a stream within its attempt: "std_log.txt" of "2/std_log.txt"."""
    return stream.partition("/")[2]
