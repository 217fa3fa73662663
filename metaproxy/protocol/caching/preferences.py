"""One spelling for the preferences of a client: Accept, Accept-Charset, Accept-Encoding, Accept-Language.

Facts this file rests on (RFC 9110). Media types, charsets, codings and language ranges have no case (§8.3.1,
§8.3.2, §8.4.1, §12.5.4). A member without a weight has the weight 1 (§12.4.2). Empty members of a list mean
nothing (§5.6.1.2), nor does the order of members of different weights. The order of members of one weight
is a preference for some servers, WebOb's among them (§12.5.4), so it stays. One member with two weights means
one or the other, depending on the server, and so does what does not follow the grammar: such a field stays as
it came.
"""

import re
from collections.abc import Mapping

LONGEST = 256
"""A longer field stays as it came: time and memory are bounded in bytes."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PLAIN = re.compile(_TOKEN)
_MEDIA_RANGE = re.compile(rb"%b/%b" % (_TOKEN, _TOKEN))
_PARAMETER = re.compile(rb"(%b)=(%b)" % (_TOKEN, _TOKEN))
_WEIGHT = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

_GRAMMARS: Mapping[bytes, re.Pattern[bytes]] = {
    b"accept": _MEDIA_RANGE,
    b"accept-charset": _PLAIN,
    b"accept-encoding": _PLAIN,
    b"accept-language": _PLAIN,
}

NAMES = frozenset(_GRAMMARS)
"""The fields that this file knows."""

Member = tuple[bytes, int]
"""A value with its parameters, and its weight in thousandths."""


def normalised(name: bytes, value: bytes) -> bytes | None:
    """Return the spelling that all values with the meaning of ``value`` share; None if there is none.

    ``name`` is one of ``NAMES``. The result is a value of the field itself, and its own normal spelling.
    """
    if len(value) > LONGEST:
        return None
    weights: dict[bytes, int] = {}
    for text in value.split(b","):
        if not (stripped := text.strip(b" \t")):
            continue
        member = _member(stripped, _GRAMMARS[name])
        if member is None or weights.setdefault(*member) != member[1]:
            return None
    members = sorted(weights.items(), key=_descending)
    return b", ".join([_spelled(*member) for member in members])


def _member(text: bytes, grammar: re.Pattern[bytes]) -> Member | None:
    first, *parameters = [part.strip(b" \t") for part in text.split(b";")]
    if not grammar.fullmatch(first):
        return None
    spelled, weight = first.lower(), 1000
    for at, text_of_one in enumerate(parameters, 1):
        found = _PARAMETER.fullmatch(text_of_one)
        if found is None:
            return None
        if found[1].lower() != b"q":
            if grammar is _PLAIN:
                return None
            spelled += b";%b=%b" % (found[1].lower(), found[2])
        elif at < len(parameters) or not _WEIGHT.fullmatch(found[2]):
            return None
        else:
            weight = round(float(found[2]) * 1000)
    return spelled, weight


def _descending(member: Member) -> int:
    return -member[1]


def _spelled(text: bytes, weight: int) -> bytes:
    if weight == 1000:
        return text
    digits = b"%03d" % weight
    return text + (b";q=0." + digits.rstrip(b"0") if weight else b";q=0")
