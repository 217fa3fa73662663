"""RFC 9110 §12.5: preferences of one meaning have one spelling, and others have none in common."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import preferences, reuse

LANGUAGE = b"accept-language"


@pytest.mark.parametrize(
    ("name", "value", "spelled"),
    [
        pytest.param(LANGUAGE, b"en, de", b"en, de", id="§12.5.4 two languages"),
        pytest.param(LANGUAGE, b"eN,De", b"en, de", id="§12.5.4 tags have no case"),
        pytest.param(LANGUAGE, b" en ,\t de ", b"en, de", id="§5.6.1 blanks"),
        pytest.param(LANGUAGE, b",en,, de,", b"en, de", id="§5.6.1.2 empty members"),
        pytest.param(LANGUAGE, b"de, en, de", b"de, en", id="§12.4 the same twice"),
        pytest.param(LANGUAGE, b"en;q=0.5, de", b"de, en;q=0.5", id="§12.4.2 the order of weights"),
        pytest.param(LANGUAGE, b"en;q=1.0, de ; Q=0.50", b"en, de;q=0.5", id="§12.4.2 numbers"),
        pytest.param(LANGUAGE, b"de;q=0.000, *;q=0.1", b"*;q=0.1, de;q=0", id="§12.4.2 not acceptable"),
        pytest.param(LANGUAGE, b"de, en", b"de, en", id="§12.5.4 the order of equal ones may count"),
        pytest.param(LANGUAGE, b"", b"", id="§12.5 no members"),
        pytest.param(LANGUAGE, b"en, en;q=0.5", None, id="two weights"),
        pytest.param(LANGUAGE, b"en;q=1.5", None, id="§12.4.2 no weight"),
        pytest.param(LANGUAGE, b"en;q=.5", None, id="§12.4.2 no digit"),
        pytest.param(LANGUAGE, b"en;q=0.1234", None, id="§12.4.2 too exact"),
        pytest.param(LANGUAGE, b"en;level=1", None, id="§12.5.4 no such parameter"),
        pytest.param(LANGUAGE, b"en de", None, id="§12.5.4 no tag"),
        pytest.param(b"accept-encoding", b"GZIP, identity;q=0", b"gzip, identity;q=0", id="§8.4.1"),
        pytest.param(b"accept-encoding", b"x-gzip", b"x-gzip", id="§8.4.1.3 may be told apart"),
        pytest.param(b"accept-charset", b"UTF-8;q=1", b"utf-8", id="§8.3.2"),
        pytest.param(
            b"accept", b"Text/HTML;Level=A;q=0.4, */*", b"*/*, text/html;level=A;q=0.4", id="§8.3.1"
        ),
        pytest.param(b"accept", b"text/html;q=0.4;level=1", None, id="§12.5.1 a parameter behind the weight"),
        pytest.param(b"accept", b'text/html;p="a, b"', None, id="§5.6.4 a quoted string"),
        pytest.param(b"accept", b"json", None, id="§12.5.1 no media range"),
    ],
)
def test_the_spelling_of_preferences(name: bytes, value: bytes, spelled: bytes | None) -> None:
    assert preferences.normalised(name, value) == spelled


def test_a_long_field_stays_as_it_came() -> None:
    assert preferences.normalised(LANGUAGE, b"en" + b" " * preferences.LONGEST) is None


def parsed(value: bytes) -> list[tuple[bytes, float]]:
    """Read a list of preferences as a server does that asks for the most wanted first, in their order."""
    found = []
    for member in value.decode().lower().split(","):
        tag, _, weight = (part.strip() for part in member.partition(";"))
        if tag:
            found.append((tag.encode(), float(weight.partition("=")[2].strip() or 1)))
    found.sort(key=lambda preference: -preference[1])
    return list(dict.fromkeys(found))


TAGS = st.lists(st.sampled_from([b"en", b"de", b"en-US", b"zh-Hant", b"*"]), unique=True, max_size=5)
WEIGHTS = {1.0: [b"", b";q=1", b"; Q=1.000"], 0.5: [b";q=0.5", b" ;\tq=0.50"], 0.0: [b";q=0", b";q=0.0"]}


@st.composite
def spellings(draw: st.DrawFn, preferred: list[tuple[bytes, float]]) -> bytes:
    """Return a field that means ``preferred``, spelled in any way."""
    groups = [
        list(group) for _, group in groupby(sorted(preferred, key=lambda one: -one[1]), lambda one: one[1])
    ]
    members: list[bytes] = []
    while groups:
        group = draw(st.sampled_from(groups))
        tag, weight = group.pop(0)
        groups = [other for other in groups if other]
        cased = draw(st.sampled_from([tag, tag.upper(), tag.lower()]))
        member = cased + draw(st.sampled_from(WEIGHTS[weight]))
        members += [member] * draw(st.integers(1, 2))
    blanks = st.sampled_from([b",", b", ", b" ,\t", b",,"])
    return b"".join(member + draw(blanks) for member in members)


@given(data=st.data(), tags=TAGS, name=st.sampled_from([LANGUAGE, b"accept-encoding", b"accept-charset"]))
def test_for_every_spelling_the_key_is_what_a_reference_parser_reads(
    data: st.DataObject, tags: list[bytes], name: bytes
) -> None:
    preferred = [(tag, data.draw(st.sampled_from(sorted(WEIGHTS)))) for tag in tags]
    one, other = data.draw(spellings(preferred)), data.draw(spellings(preferred))

    spelled = preferences.normalised(name, one)

    assert spelled == preferences.normalised(name, other)
    assert spelled is not None
    assert parsed(spelled) == parsed(one) == parsed(other)
    assert preferences.normalised(name, spelled) == spelled


MEMBERS = st.lists(
    st.sampled_from([b"en", b"EN", b"de", b"de;q=0.5", b"en;q=0.5", b"de;q=0", b"", b"en;q=2", b'"a, b"']),
    max_size=4,
)


@given(one=MEMBERS, other=MEMBERS)
def test_for_every_pair_of_fields_only_those_of_one_meaning_select_each_others_answer(
    one: list[bytes], other: list[bytes]
) -> None:
    first, second = b", ".join(one), b", ".join(other)
    vary = reuse.vary_values([LANGUAGE], [(LANGUAGE, first)])

    is_selected = reuse.selects(vary, {LANGUAGE: second})

    spelled = [preferences.normalised(LANGUAGE, value) for value in (first, second)]
    if None in spelled:
        assert not is_selected or first.replace(b" ", b"") == second.replace(b" ", b"")
    else:
        assert is_selected is (parsed(first) == parsed(second))


@pytest.mark.parametrize(
    ("stored", "asked", "selected"),
    [
        pytest.param(b"1,2", b" 1,  2 ", True, id="§4.1 blanks in a list"),
        pytest.param(b'"a, b"', b'"a,b"', False, id="§5.6.4 blanks in a string"),
        pytest.param(b"a (b, c)", b"a (b,c)", False, id="§5.6.5 blanks in a comment"),
        pytest.param(b"One", b"one", False, id="§4.1 case counts in a field that is not known"),
    ],
)
def test_an_unknown_field_is_compared_by_its_members(stored: bytes, asked: bytes, selected: bool) -> None:
    vary = reuse.vary_values([b"x-filter"], [(b"x-filter", stored)])

    assert reuse.selects(vary, {b"x-filter": asked}) is selected


@pytest.mark.parametrize("name", [LANGUAGE, b"x-filter"])
def test_a_long_field_that_an_answer_varies_on_is_compared_as_it_came(name: bytes) -> None:
    long = b"a, b, " * 100
    vary = reuse.vary_values([name], [(name, long.strip())])

    assert reuse.selects(vary, {name: long.strip()})
    assert not reuse.selects(vary, {name: long.replace(b" ", b"")})
