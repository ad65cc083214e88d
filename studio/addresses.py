"""Which addresses the studio may connect to on somebody's behalf.

An address is checked as it was resolved and connected to as it was checked: a name that answers differently the
second time reaches nothing that was not allowed.
"""

import ipaddress
import socket
from dataclasses import dataclass

from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow, TargetUnreachable

# Where clouds answer a machine's own questions about itself, its credentials among them.
METADATA = {
    ipaddress.ip_address(one)
    for one in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
}
# The last 32 bits are an IPv4 address: by NAT64 (RFC 6052, and a network's own, RFC 8215), by SIIT, or as once meant.
WRAPPING = [ipaddress.IPv6Network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")]
ITSELF = {ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1")}
PUBLIC = ipaddress.IPv6Network("2000::/3")  # what was ever given out; the rest of IPv6 is inside, or nowhere


@dataclass(frozen=True)
class Place:
    """One address a name stands for, ready to connect to."""

    family: socket.AddressFamily
    address: str
    port: int


def places_of(host: str, port: int, *, inside: bool = False, internal: bool = True) -> list[Place]:
    """Return where `host` can be reached. `inside`: also this machine and link-local addresses, as an Owner allowed;
    without `internal` nothing but the public internet.

    Raises TargetUnreachable when the name does not resolve, NotAllowedNow when it leads where it must not.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise TargetUnreachable(
            _("The name %(host)s does not resolve.") % {"host": host[:255]},
            _("Check its spelling, and that the studio's machine may ask for it: %(problem)s.")
            % {"problem": getattr(exc, "strerror", None) or exc},
        ) from exc
    places = [Place(family, str(where[0]), port) for family, _type, _proto, _name, where in found]
    for place in places:
        facts = {"host": host[:255], "address": place.address}
        if not inside and is_inside(place.address):
            raise NotAllowedNow(
                _("%(host)s is an address of the studio's own machine, or a link-local one: %(address)s.") % facts,
                _("An Owner of the workspace can allow such addresses, under Studio."),
            )
        if not internal and is_internal(place.address):
            raise NotAllowedNow(
                _("%(host)s is an address of an internal network: %(address)s.") % facts,
                _("An Owner of the workspace can allow such addresses, under Studio."),
            )
    return places


def is_inside(address: str) -> bool:
    """Say whether an address means this machine, its own link, or a cloud's metadata service."""
    ip = _meant(address)
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast or ip in METADATA


def is_internal(address: str) -> bool:
    """Say whether an address means anything but a host of the public internet."""
    ip = _meant(address)
    return is_inside(address) or not ip.is_global or (isinstance(ip, ipaddress.IPv6Address) and ip not in PUBLIC)


def _meant(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address as the network understands it: the IPv4 address where an IPv6 address only wraps one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip not in ITSELF and any(ip in wrapping for wrapping in WRAPPING):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def connect(places: list[Place], timeout: float) -> socket.socket:
    """Return a connection to the first of `places` that takes one. Raises OSError of the last that did not."""
    problem: OSError = OSError("no address")
    for place in places:
        connection = socket.socket(place.family, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect((place.address, place.port))
        except OSError as exc:
            connection.close()
            problem = exc
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each small question waits 40 ms
        return connection
    raise problem
