"""An identity as bytes: all of it or nothing."""

from dataclasses import fields
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import Assignment, Identity
from metaproxy.identity import stored_identity
from metaproxy.identity.sharing import Sharing
from metaproxy.protocol.credential_rules import CredentialRule

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
ASSIGNMENTS = st.lists(st.builds(Assignment, TEXT, TEXT), max_size=3).map(tuple)
IDENTITIES = st.builds(
    Identity,
    user_id=TEXT,
    project_id=TEXT,
    roles=TEXTS,
    assignments=st.none() | ASSIGNMENTS,
    impersonator_assignments=ASSIGNMENTS,
    groups=st.lists(st.tuples(TEXT, st.floats(0, 1)), max_size=3).map(tuple),
    tenant_ids=TEXTS,
    expires_at=st.floats(0, 1e12),
    audit_ids=TEXTS,
    is_admin_project=st.none() | st.booleans(),
    roles_are_global=st.booleans(),
    access_rules=st.none() | st.lists(st.builds(CredentialRule, TEXT, TEXT), max_size=3).map(tuple),
    catalog=st.none() | st.binary(max_size=50),
    extra=st.dictionaries(TEXT, TEXT, max_size=3),
)
OF_ONE_PROCESS = ("token_digest", "renderer")


@given(IDENTITIES)
def test_what_is_read_is_what_was_written(identity: Identity) -> None:
    assert stored_identity.decode(stored_identity.encode(identity)) == identity


@given(IDENTITIES)
def test_an_identity_made_of_shared_values_is_written_as_any_other(identity: Identity) -> None:
    shared = Sharing().take(identity)

    assert stored_identity.encode(shared) == stored_identity.encode(identity)


def test_what_belongs_to_one_process_is_not_written() -> None:
    own = Identity(user_id="u", token_digest=b"digest", renderer=lambda _: ())

    stored = stored_identity.decode(stored_identity.encode(own))

    assert stored == Identity(user_id="u")
    assert stored.renderer is None


@given(IDENTITIES, st.data())
def test_less_than_everything_is_nothing(identity: Identity, data: st.DataObject) -> None:
    content = stored_identity.encode(identity)

    with pytest.raises(ValueError, match="not an identity"):
        stored_identity.decode(content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("number", range(len(stored_identity.NAMES)))
def test_a_field_that_is_left_out_or_of_another_type_is_refused(number: int) -> None:
    values = msgspec.msgpack.decode(stored_identity.encode(Identity(user_id="u")))

    for wrong in (
        values[:number] + values[number + 1 :],
        [*values[:number], {"a": 1}, *values[number + 1 :]],
        [*values, 1],
    ):
        with pytest.raises(ValueError, match="not an identity"):
            stored_identity.decode(msgspec.msgpack.encode(wrong))


def test_a_new_form_has_a_new_number() -> None:
    """Raise ``VERSION`` with any change here: replicas of two versions share one store."""
    types = get_type_hints(Identity)
    form = [(each.name, str(types[each.name])) for each in fields(Identity)]

    assert stored_identity.VERSION == 1
    assert [name for name, _ in form if name not in OF_ONE_PROCESS] == list(stored_identity.NAMES)
    assert (
        *("user_id", "user_name", "user_domain_id", "user_domain_name"),
        *("project_id", "project_name", "project_domain_id", "project_domain_name"),
        *("domain_id", "domain_name", "system_scope"),
        *("roles", "assignments", "impersonator_assignments", "groups", "tenant_ids"),
        *("expires_at", "audit_ids", "is_admin_project", "roles_are_global"),
        *("access_rules", "catalog", "extra"),
    ) == stored_identity.NAMES
    assert (Assignment._fields, CredentialRule._fields) == (("role", "tenant_id"), ("method", "path"))
