"""What the log viewer's template asks of a log."""

from django import template

register = template.Library()


@register.filter
def log_name(stream: str) -> str:
    """Return the name of a stream within its attempt: "std_log.txt" of "2/std_log.txt"."""
    return stream.partition("/")[2]
