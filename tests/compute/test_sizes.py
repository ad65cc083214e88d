"""The catalogue of VM sizes."""

from datetime import date
from decimal import Decimal

import pytest

from compute import sizes
from compute.states import Priority
from studio.errors import NotAllowedNow


def test_every_size_is_whole():
    assert len(sizes.all_sizes()) == 80
    assert len({size.name.casefold() for size in sizes.all_sizes()}) == 80
    for size in sizes.all_sizes():
        assert size.vcpus > 0
        assert size.memory_bytes > sizes.GB
        assert size.is_gpu == (size.gpus > 0) == bool(size.gpu_type)
        assert size.price_usd_per_hour
        assert size.price_usd_per_hour > 0
        assert size.price_as_of in {2020, 2024}
        assert len(size.name) <= 40


@pytest.mark.parametrize("name", ["Standard_D2_v2", "STANDARD_D2_V2", "standard_d2_v2"])
def test_a_size_is_found_in_any_case(name):
    assert sizes.by_name(name).name == "Standard_D2_v2"


def test_an_unknown_size_is_refused_in_words():
    assert sizes.find("Standard_Z9") is None
    with pytest.raises(NotAllowedNow, match="Standard_Z9"):
        sizes.by_name("Standard_Z9")


def test_the_newer_price_counts_and_its_year_is_said():
    newer, older = sizes.by_name("Standard_DS3_v2"), sizes.by_name("Standard_F4s_v2")
    assert (newer.price_usd_per_hour, newer.price_as_of) == (Decimal("0.293"), 2024)
    assert (older.price_usd_per_hour, older.price_as_of) == (Decimal("0.17"), 2020)


def test_low_priority_costs_less():
    for size in sizes.all_sizes():
        low, dedicated = size.price(Priority.LOW_PRIORITY), size.price(Priority.DEDICATED)
        assert low is not None
        assert dedicated is not None
        assert 0 < low < dedicated
        assert low == low.quantize(Decimal("0.0001")), "a price fits its column"


def test_what_is_recommended_comes_first_and_is_in_service():
    assert [size.name for size in sizes.recommended(gpu=False)] == [
        "Standard_DS2_v2",
        "Standard_DS3_v2",
        "Standard_F4s_v2",
    ]
    gpu = sizes.recommended(gpu=True)
    assert gpu
    assert all(size.is_gpu and not size.is_retired for size in gpu)


def test_a_retired_size_stays_and_says_since_when():
    size = sizes.by_name("Standard_NC6")
    assert size.is_retired
    assert size.retired_on == date(2023, 8, 31)


def test_families_are_joined_though_quotas_and_sizes_spell_them_differently():
    assert sizes.by_name("Standard_NC6s_v3").family_key == sizes.family_key("StandardNCv3Family")
    assert sizes.by_name("Standard_DS2_v2").family_key == sizes.family_key("STANDARDDSV2FAMILY")
    assert sizes.family_key("standardDFamily") != sizes.family_key("standardDv2Family")
