import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import Exchange, Identity
from metaproxy.protocol.limits.consumers import (
    CONSUMERS,
    OF_TOKENS,
    TEXT_PATTERN,
    consumer_of,
    group_of,
    respelled,
)

ADDRESS = "2001:db8::1"


def asker(project_id: str = "", user_id: str = "", address: str = ADDRESS) -> Exchange:
    """Return a request of this user in this project, from this address."""
    return Exchange(
        "r", 0.0, identity=Identity(project_id=project_id, user_id=user_id), client_address=address
    )


@pytest.mark.parametrize(
    ("per", "project_id", "user_id", "expected"),
    [
        (("project",), "p", "u", "project:p"),
        (("project",), "", "u", "user:u"),
        (("project",), "", "", f"address:{ADDRESS}"),
        (("user",), "p", "u", "user:u"),
        (("user",), "p", "", f"address:{ADDRESS}"),
        (("address",), "p", "u", f"address:{ADDRESS}"),
        (("global",), "p", "u", "global:"),
        (("image_id",), "p", "u", "global:"),
        (("project", "image_id"), "p", "u", "project:p"),
        (("project", "user"), "p", "u", "project:p+user:u"),
        (("project", "user"), "", "", f"address:{ADDRESS}"),
    ],
)
def test_a_consumer_is_what_the_rule_names_or_what_stands_nearest(
    per: tuple[str, ...], project_id: str, user_id: str, expected: str
) -> None:
    assert consumer_of(per)(asker(project_id, user_id)) == expected


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_request_without_a_token_is_counted_by_its_address_or_with_all_others(name: str) -> None:
    text = consumer_of((name,))(Exchange("r", 0.0, client_address=ADDRESS))
    assert text == ("global:" if name == "global" else f"address:{ADDRESS}")


@pytest.mark.parametrize("name", OF_TOKENS)
def test_what_is_read_from_a_token_is_a_text_of_its_identity(name: str) -> None:
    of_token: dict[str, Any] = {CONSUMERS[name].attribute: "x1"}
    identity = Identity(**of_token)
    assert consumer_of((name,))(Exchange("r", 0.0, identity=identity)) == f"{name}:x1"


@pytest.mark.parametrize("name", CONSUMERS)
def test_an_operator_may_name_each_consumer_that_a_rule_may(name: str) -> None:
    text = consumer_of((name,))(asker("p", "u"))
    assert re.search(TEXT_PATTERN, text)
    assert not re.search(TEXT_PATTERN, "project:")


@given(
    st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1))
)
def test_no_two_pairs_of_ids_are_the_same_consumer(one: tuple[str, str], other: tuple[str, str]) -> None:
    both = consumer_of(("project", "user"))
    assert (both(asker(*one)) == both(asker(*other))) == (one == other)


@given(st.text(min_size=1))
def test_an_id_cannot_reach_out_of_its_place_in_a_key(identifier: str) -> None:
    text = consumer_of(("project",))(asker(identifier))
    assert not set(text) & set("/+*?[]\\\n")


@pytest.mark.parametrize(
    ("names", "expected"), [((), ""), (("a", "b"), "b"), (("x", "b", "a"), "b"), (("a",), "a"), (("x",), "")]
)
def test_the_group_that_stands_first_in_the_file_decides(names: tuple[str, ...], expected: str) -> None:
    assert group_of(names, {"b": 0, "a": 1}) == expected


@pytest.mark.parametrize(
    ("per", "address", "expected"),
    [
        (("address",), "2001:db8::1", "address:2001:db8::/64"),
        (("address",), "2001:db8::ffff:1", "address:2001:db8::/64"),
        (("address",), "198.51.100.7", "address:198.51.100.7"),
        (("project", "address"), "2001:db8::1", "address:2001:db8::/64"),
        (("user",), "2001:db8::1", "address:2001:db8::/64"),
    ],
)
def test_ipv6_addresses_of_one_network_are_one_consumer(
    per: tuple[str, ...], address: str, expected: str
) -> None:
    assert consumer_of(per, 64)(asker(address=address)) == expected


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("address:198.51.100.7", "address:198.51.100.7"),
        ("address:::ffff:198.51.100.7", "address:198.51.100.7"),
        ("address:::ffff:c633:6407", "address:198.51.100.7"),
        ("address:2001:DB8:0:0::5", "address:2001:db8::/64"),
        ("address:2001:DB8::/64", "address:2001:db8::/64"),
        ("address:2001:db8::%eth0", "address:2001:db8::/64"),
        ("address:2001:db8::/56", "address:2001:db8::/56"),
        ("project:p+address:2001:db8::1", "project:p+address:2001:db8::/64"),
        ("project:::1", "project:::1"),
        ("global:", "global:"),
    ],
)
def test_an_operator_may_spell_an_address_in_any_way(named: str, expected: str) -> None:
    assert respelled(named, 64) == expected
