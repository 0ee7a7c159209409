import doctest

from rescind.core import hosts
from rescind.core.hosts import is_loopback


def test_addresses_of_this_machine_are_recognized() -> None:
    local_hosts = (
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.255.0.9",
        "127.1",
        "::1",
    )
    assert all(map(is_loopback, (*local_hosts, "2130706433", "::ffff:127.0.0.1")))
    elsewhere = ("localhost.example", "128.0.0.1", "0.0.0.0", "::", "node", "", "1.127.0.0.1")
    assert not any(map(is_loopback, elsewhere))


def test_the_examples_of_the_docstring_hold() -> None:
    assert doctest.testmod(hosts).failed == 0
