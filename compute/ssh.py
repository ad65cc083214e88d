"""One SSH connection to one machine. The only module that knows paramiko.

Keys come from memory, never from a file; the host key is compared with the pinned one before anything is said of
who asks. Whatever goes wrong leaves here as a StudioError that says which thing it was.
"""

import base64
import contextlib
import hashlib
import io
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from django.utils.translation import gettext as _

from studio import addresses
from studio.errors import CredentialsRejected, HostKeyChanged, StudioError, TargetUnreachable

if TYPE_CHECKING:
    import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs tracebacks of what is translated here
CONNECT_WITHIN = 10.0  # seconds, for each step: TCP, banner, key exchange, signing in
KEEP_ALIVE = 15  # seconds
MOST_BEFORE_KEYS = 256 * 1024  # bytes that a machine may say until keys are exchanged: banner, lists, a key
NO_GREETING = "Error reading SSH protocol banner"  # paramiko's words, and the words of what was in the way behind them
LEAST_RSA = 2048  # bits
PUTTY = b"PuTTY-User-Key-File"
HostKey = dict[str, str]  # {"type": "ssh-ed25519", "key": base64, "sha256": "SHA256:…"}


@dataclass(frozen=True)
class Account:
    """Where to sign in, as whom and with what."""

    address: str
    port: int = 22
    username: str = ""
    private_key: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    host_key: HostKey | None = None  # the pinned one; None: any, for a look that ends before signing in
    jump: "Account | None" = None  # through this one
    inside: bool = False  # addresses of the studio's own machine are allowed

    @property
    def name(self) -> str:
        """Return "user@host:port" for people."""
        return f"{self.username}@{self.address}" + (f":{self.port}" if self.port != 22 else "")

    @property
    def digest(self) -> str:
        """Return what tells this account with these credentials from every other."""
        return hashlib.sha256(
            repr((self, self.private_key, self.passphrase, self.password, self.jump)).encode()
        ).hexdigest()


class Machine:
    """A connection that is signed in. Made by `connect`; several threads may use it at once."""

    def __init__(self, account: Account, transport: "paramiko.Transport", through: "Machine | None") -> None:
        self.account, self.transport, self.through = account, transport, through

    def program(self, command: str) -> "paramiko.Channel":
        """Start `command` in the person's login shell, without a terminal, and return the channel to talk over.

        Raises TargetUnreachable when the machine opens no session.
        """
        import paramiko

        try:
            channel = self.transport.open_session(timeout=CONNECT_WITHIN)
            channel.settimeout(CONNECT_WITHIN)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise TargetUnreachable(
                _("%(name)s opens no session: %(problem)s.") % {"name": self.account.name, "problem": words(exc)},
                _("Look at MaxSessions and ForceCommand in its sshd_config."),
            ) from exc
        return channel

    @property
    def is_open(self) -> bool:
        return self.transport.is_active()

    def close(self) -> None:
        _hang_up(self.transport)
        if self.through:
            self.through.close()


def connect(account: Account) -> Machine:
    """Sign in. Raises TargetUnreachable, HostKeyChanged or CredentialsRejected, within a bounded time."""
    if account.host_key is None:
        raise HostKeyChanged(
            _("No host key of %(host)s is pinned.") % {"host": account.address},
            _("Check the connection, and confirm the key that the machine shows."),
        )
    credentials = _credentials(account)  # before the network: a key that cannot be read needs none
    through = _through(account)
    transport = _begin(account, through)
    try:
        _compare(account, transport)
        _sign_in(account, transport, credentials)
    except BaseException:
        _hang_up(transport)
        if through:
            through.close()
        raise
    transport.set_keepalive(KEEP_ALIVE)
    return Machine(account, transport, through)


def host_key_of(account: Account) -> HostKey:
    """Return the key that a machine shows, without signing in. A jump host's own has to be pinned."""
    through = _through(account)
    transport = _begin(account, through)
    try:
        return _shown(transport)
    finally:
        _hang_up(transport)
        if through:
            through.close()


def _hang_up(transport: "paramiko.Transport") -> None:
    """Close a transport. One that goes through another, which is gone, cannot say farewell, and need not."""
    import paramiko

    with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
        transport.close()


def _through(account: Account) -> Machine | None:
    """Connect to the jump host, where there is one. A key that it shows is none of the machine's behind it."""
    if account.jump is None:
        return None
    try:
        return connect(account.jump)
    except HostKeyChanged as exc:
        exc.shown = None
        raise


def fingerprint(key: bytes) -> str:
    """Return a public key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def public_line_of(private_key: str, passphrase: str = "") -> str:
    """Return the line for authorized_keys that belongs to a private key. Raises CredentialsRejected."""
    key = read_key(private_key, passphrase)
    return f"{key.get_name()} {key.get_base64()}"


def read_key(text: str, passphrase: str = "") -> "paramiko.PKey":
    """Return a private key. Raises CredentialsRejected that says what is wrong with it, and what to do."""
    import paramiko
    from cryptography.hazmat.primitives.asymmetric import rsa

    data = text.strip().replace("\r\n", "\n").encode(errors="replace") + b"\n"
    if data.startswith(PUTTY):
        raise CredentialsRejected(
            _("This is a PuTTY key, which has a format of its own."),
            _("Convert it: puttygen key.ppk -O private-openssh-new -o key, or PuTTYgen's menu Conversions."),
        )
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC", b"-----BEGIN PUBLIC")):
        raise CredentialsRejected(
            _("This is the public half of a key."), _("Paste the other file, the one without .pub at its end.")
        )
    if b"PRIVATE KEY-----" not in data or not data.rstrip().endswith(b"-----"):
        raise CredentialsRejected(
            _("This is no whole private key."),
            _("Paste the file from “-----BEGIN” to “PRIVATE KEY-----”, both lines with it."),
        )
    needs = _is_encrypted(data)
    if needs and not passphrase:
        raise CredentialsRejected(_("The private key has a passphrase."), _("Type it beside the key."))
    secret = passphrase.encode() if needs else None
    from cryptography.hazmat.primitives import serialization

    try:
        load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE" in data else serialization.load_pem_private_key
        loaded: Any = load(data, password=secret)
        if isinstance(loaded, rsa.RSAPrivateKey) and loaded.key_size < LEAST_RSA:
            raise CredentialsRejected(
                _("An RSA key of %(n)d bits is too short.") % {"n": loaded.key_size},
                _("Make a new one: ssh-keygen -t ed25519."),
            )
        plain = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode()
    except (ValueError, TypeError) as exc:
        if needs:
            raise CredentialsRejected(
                _("The passphrase does not open this private key."), _("Type it again; upper and lower case count.")
            ) from exc
        raise CredentialsRejected(
            _("The private key is damaged, or cut short."), _("Paste the whole file again.")
        ) from exc
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(plain))
        except paramiko.SSHException:
            continue
    raise CredentialsRejected(
        _("Keys of this type are not used any more."), _("Make a new one: ssh-keygen -t ed25519.")
    )


def _is_encrypted(data: bytes) -> bool:
    if b"ENCRYPTED" in data:
        return True
    if b"OPENSSH PRIVATE" not in data:
        return False
    try:
        body = base64.b64decode(b"".join(data.splitlines()[1:-1]))
    except ValueError:
        return False
    return not body.startswith(b"openssh-key-v1\0\0\0\0\x04none")


def _credentials(account: Account) -> "paramiko.PKey | str":
    if account.private_key:
        return read_key(account.private_key, account.passphrase)
    if not account.password:
        raise CredentialsRejected(
            _("There is neither a key nor a password for %(name)s.") % {"name": account.name},
            _("Edit the connection and give one."),
        )
    return account.password


def _begin(account: Account, through: Machine | None) -> "paramiko.Transport":
    """Return a transport that has exchanged keys and has said nothing of who asks."""
    import paramiko

    try:
        wire = _Guarded(_wire(account, through))
        transport = paramiko.Transport(cast("socket.socket", wire))
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise _unreachable(account, exc) from exc
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = CONNECT_WITHIN
    if account.host_key:  # ask for the kind of key that is pinned, not for the one the machine likes best
        options = transport.get_security_options()
        kind = account.host_key["type"]
        wanted = [k for k in options.key_types if k == kind or (kind == "ssh-rsa" and k.startswith("rsa-"))]
        options.key_types = wanted or list(options.key_types)
    try:
        transport.start_client(timeout=CONNECT_WITHIN)
    except (paramiko.SSHException, OSError, EOFError) as exc:
        _hang_up(transport)
        if "no acceptable host key" in str(exc).lower():  # it has no key of the pinned kind any more
            raise HostKeyChanged(*_changed(account), shown=host_key_of(_unpinned(account))) from exc
        raise _unreachable(account, exc) from exc
    if not transport.initial_kex_done:  # the time is over, and paramiko says nothing of it
        _hang_up(transport)
        raise _unreachable(account, TimeoutError())
    wire.left = None
    return transport


class _Guarded:
    """A wire that brings only so much until it is trusted: whoever speaks without end is hung up on."""

    def __init__(self, wire: Any) -> None:
        self.wire, self.left = wire, cast("int | None", MOST_BEFORE_KEYS)

    def recv(self, most: int) -> bytes:
        data: bytes = self.wire.recv(most)
        if self.left is not None:
            self.left -= len(data)
            if self.left < 0:
                raise ConnectionAbortedError(_too_much())
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wire, name)


def _too_much() -> str:
    return _("it says more than SSH has to say before keys are exchanged")


def _unpinned(account: Account) -> Account:
    return Account(account.address, account.port, account.username, jump=account.jump, inside=account.inside)


def _wire(account: Account, through: Machine | None) -> Any:
    """Return something like a socket to the machine: a connection of our own, or a channel through another."""
    if through is None:
        places = addresses.places_of(account.address, account.port, inside=account.inside)
        return addresses.connect(places, CONNECT_WITHIN)
    where = (account.address, account.port)
    return through.transport.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=CONNECT_WITHIN)


def _shown(transport: "paramiko.Transport") -> HostKey:
    key = transport.get_remote_server_key()
    return {"type": key.get_name(), "key": key.get_base64(), "sha256": fingerprint(key.asbytes())}


def _compare(account: Account, transport: "paramiko.Transport") -> None:
    shown = _shown(transport)
    if account.host_key is None or shown["key"] != account.host_key["key"]:
        raise HostKeyChanged(*_changed(account), shown=shown)


def _changed(account: Account) -> tuple[str, str]:
    return (
        _("%(host)s shows another host key than the one that is pinned.") % {"host": account.address},
        _("Either it was set up anew, or somebody stands in between. Compare the fingerprints before you accept it."),
    )


def _sign_in(account: Account, transport: "paramiko.Transport", credentials: "paramiko.PKey | str") -> None:
    import paramiko

    try:
        if isinstance(credentials, str):
            _with_password(account, transport, credentials)
        else:
            transport.auth_publickey(account.username, credentials)
    except paramiko.BadAuthenticationType as exc:
        raise CredentialsRejected(
            _("%(name)s does not take that way of signing in; it takes: %(ways)s.")
            % {"name": account.name, "ways": ", ".join(exc.allowed_types)},
            _("Choose a way that it takes, or change its sshd_config."),
        ) from exc
    except paramiko.AuthenticationException as exc:
        hint = (
            _("Type the password again.")
            if isinstance(credentials, str)
            else _("The line of this key has to stand in ~/.ssh/authorized_keys there.")
        )
        raise CredentialsRejected(_("%(name)s refuses the credentials.") % {"name": account.name}, hint) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise _unreachable(account, exc) from exc
    if not transport.is_authenticated():
        raise CredentialsRejected(
            _("%(name)s wants more than one proof.") % {"name": account.name},
            _("Let the key alone be enough for this user there."),
        )


def _with_password(account: Account, transport: "paramiko.Transport", password: str) -> None:
    """Sign in with a password, also where the machine asks for it as a question."""
    import paramiko

    try:
        transport.auth_password(account.username, password, fallback=False)
    except paramiko.BadAuthenticationType as exc:
        if "keyboard-interactive" not in exc.allowed_types:
            raise
        transport.auth_interactive(account.username, lambda _title, _words, asked: [password for _one in asked])


def _unreachable(account: Account, exc: BaseException) -> StudioError:
    where = {"host": account.address, "port": account.port, "problem": words(exc)}
    if isinstance(exc, ConnectionRefusedError):
        return TargetUnreachable(
            _("%(host)s refuses connections to port %(port)d.") % where,
            _("Is sshd running there, on this port? Is a firewall in between?"),
        )
    if isinstance(exc, TimeoutError | socket.timeout):
        return TargetUnreachable(
            _("%(host)s does not answer on port %(port)d.") % where,
            _("Is the machine on, and may the studio's machine reach it? Look at its firewall."),
        )
    if account.jump:
        return TargetUnreachable(
            _("%(jump)s cannot reach %(host)s on port %(port)d: %(problem)s.") % {**where, "jump": account.jump.name},
            _("Is the machine on, and sshd running there? May the jump host forward connections (AllowTcpForwarding)?"),
        )
    return TargetUnreachable(
        _("%(host)s cannot be reached on port %(port)d: %(problem)s.") % where,
        _("Try: ssh -v -p %(port)d %(host)s, from the studio's machine.") % where,
    )


def words(exc: BaseException) -> str:
    """Return what an error says, in a line that is fit to be shown."""
    if isinstance(exc, EOFError):
        return _("it hangs up")
    said = getattr(exc, "strerror", None) or getattr(exc, "text", None) or str(exc) or type(exc).__name__
    if said.startswith(NO_GREETING):
        said = _too_much() if said.endswith(_too_much()) else _("it does not greet as SSH does")
    return " ".join("".join(c if c.isprintable() else " " for c in said[:200]).split()).rstrip(".")
