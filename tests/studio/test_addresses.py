"""Addresses as the network understands them, however they are written."""

import pytest

from studio import addresses
from studio.errors import NotAllowedNow

OF_THIS_MACHINE = [
    "127.0.0.1", "127.9.9.9", "::1", "::", "169.254.169.254", "fe80::1%lo", "224.0.0.1", "ff02::1",
    "0.0.0.0",  # noqa: S104  nothing listens here
    "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b:1::169.254.169.254", "2002:7f00:1::",
]  # fmt: skip
OF_A_NETWORK = [
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.1.2.3", "198.18.0.1", "240.0.0.1", "255.255.255.255",
    "fd12::1", "fec0::1", "2001:db8::1", "2001:0:a00:1::1", "5f00::1", "100::1", "::ffff:10.0.0.1", "::10.0.0.1",
    "64:ff9b::10.0.0.1", "2002:a00:1::",
]  # fmt: skip


@pytest.mark.parametrize("address", OF_THIS_MACHINE)
def test_what_means_this_machine_its_link_or_its_credentials_is_inside(address: str) -> None:
    assert addresses.is_inside(address)
    assert addresses.is_internal(address)


@pytest.mark.parametrize("address", OF_A_NETWORK)
def test_what_nobody_outside_reaches_is_internal(address: str) -> None:
    assert addresses.is_internal(address)
    assert not addresses.is_inside(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_what_everybody_reaches_is_neither(address: str) -> None:
    assert not addresses.is_internal(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "0", "::ffff:7f00:1"])
def test_however_a_host_is_written_it_is_looked_at_as_it_is_connected_to(host: str) -> None:
    with pytest.raises(NotAllowedNow):
        addresses.places_of(host, 80)
