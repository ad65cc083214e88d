"""What a shepherd says of a program that takes too much. That it ends it is in test_processes."""

from compute import watching


def test_the_excess_over_a_ceiling_is_never_rounded_away() -> None:
    assert watching.of_gigabytes(int(7.1 * 2**30), 7 * 2**30) == "used 7.1 of 7 GB"
    assert watching.of_gigabytes(int(7.01 * 2**30), 7 * 2**30) == "used 7.010 of 7 GB"
    assert watching.of_gigabytes(110 * 2**20, 100 * 2**20) == "used 110 of 100 MB"
