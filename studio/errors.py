"""What can go wrong in words for people: a message that says what happened, a hint that says what to do next."""

from django.utils.translation import gettext as _


class StudioError(Exception):
    """Something a person should read. The middleware shows it as a page, or as a notice on the page htmx shows."""

    status = 400

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class NotAllowedNow(StudioError):
    """The thing exists and the person may, but its state forbids it."""

    status = 409


class NotSupported(StudioError):
    """This kind of compute target cannot do that."""

    status = 409


class NotSignedIn(StudioError):
    """A program shows neither a token that works nor a session."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            _("This needs an API token that works, or a session."),
            _("Send the header “Authorization: Bearer studio_…” with a token that is neither revoked nor too old."),
        )


class NeedsRight(StudioError):
    """The person's role does not carry the right."""

    status = 403


class NotThere(StudioError):
    """It does not exist, or not for this person: the answer is the same."""

    status = 404

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(
            message or _("There is no such page here, or it is not yours to see."),
            hint or _("Check the address, or go to the home page and look from there."),
        )


class WrongMethod(StudioError):
    """The address exists, and takes other methods, which `allowed` names."""

    status = 405

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(_("This address takes %(methods)s.") % {"methods": ", ".join(allowed)})
        self.allowed = allowed


class ChangedMeanwhile(StudioError):
    """It is no longer what the program that changes it has seen."""

    status = 412

    def __init__(self) -> None:
        super().__init__(
            _("It changed since you read it: its ETag is another one now."),
            _("Read it again, look whether the change still makes sense, and send it with the new ETag."),
        )


class TooLarge(StudioError):
    """An upload is over a limit, which the message names."""

    status = 413


class NotValid(StudioError):
    """What was sent breaks a rule; `fields` has a name and a sentence for each thing that does."""

    status = 422

    def __init__(self, fields: list[tuple[str, str]], hint: str = "") -> None:
        super().__init__(" ".join(f"{name}: {said}" if name else said for name, said in fields), hint)
        self.fields = fields


class CannotEverRun(StudioError):
    """A run asks for what its target can never give."""

    status = 422


class TargetUnreachable(StudioError):
    """A compute target does not answer."""

    status = 502


class CredentialsRejected(StudioError):
    """A compute target answers, and refuses the credentials."""

    status = 502


class HostKeyChanged(StudioError):
    """A machine shows another host key than the pinned one; `shown` is that one, where it was seen."""

    status = 502

    def __init__(self, message: str, hint: str, shown: dict[str, str] | None = None) -> None:
        super().__init__(message, hint)
        self.shown = shown


class QuotaExceeded(StudioError):
    """A limit of cores or money stands in the way: `asked` more, with `used` of `limit` used; whose: see `scope`."""

    status = 409

    def __init__(
        self, message: str, hint: str = "", *, asked: int = 0, used: int = 0, limit: int = 0, scope: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.asked, self.used, self.limit, self.scope = asked, used, limit, scope


class TooOften(StudioError):
    """Tried too often in a short time; `seconds` from now it may be tried again."""

    status = 429

    def __init__(self, message: str, hint: str, seconds: int) -> None:
        super().__init__(message, hint)
        self.seconds = seconds
