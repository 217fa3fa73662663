"""Values of options that Python code gives, rather than a file."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from metaproxy.cache.settings import Cache, CacheRoute
from metaproxy.filters.cache import MetadataCache
from metaproxy.protocol.option_values import Regex, Template
from metaproxy.settings.units import Duration, Lifetime, Percent, PositiveDuration, Size
from metaproxy.settings.values import FOLDER


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (Duration, 0, 0.0),
        (Duration, 1.5, 1.5),
        (Duration, "90s", 90.0),
        (PositiveDuration, 0.001, 0.001),
        (Lifetime, None, None),
        (Lifetime, 60, 60.0),
        (Size, 2**20, 2**20),
        (Percent, 0.25, 0.25),
        (Template, "/images/{image_id}", "/images/{image_id}"),
        (Regex, "/a+", "/a+"),
    ],
)
def test_a_value_may_be_given_as_the_program_has_it(kind: Any, given: object, value: object) -> None:
    assert TypeAdapter(kind).validate_python(given) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Duration, -1),
        (Duration, True),
        (Duration, float("nan")),
        (Duration, float("inf")),
        (PositiveDuration, 0),
        (Lifetime, -1),
        (Size, 0),
        (Size, 1.5),
        (Percent, 1.5),
        (Template, "images"),
        (Regex, "("),
    ],
)
def test_a_value_that_cannot_be_is_refused(kind: Any, given: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given)


@pytest.mark.parametrize("kind", [Duration, PositiveDuration, Lifetime, Size, Percent])
def test_a_file_gives_a_number_with_its_unit(kind: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(1, context={FOLDER: Path()})


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers nothing."""


def test_a_stage_takes_its_options_as_keywords_or_as_one_object() -> None:
    route = CacheRoute(path="/things", ttl=5)
    whole = MetadataCache(nowhere, Cache(routes=(route,), scope="shared"))
    single = MetadataCache(nowhere, routes=[route], scope="shared")

    assert whole.routes_are_shaped == single.routes_are_shaped


def test_a_stage_refuses_an_option_that_it_does_not_have() -> None:
    with pytest.raises(ValidationError, match="rutes"):
        MetadataCache(nowhere, rutes=[])


def test_a_stage_refuses_options_beside_an_object_that_has_them() -> None:
    with pytest.raises(TypeError, match="not both: scope"):
        MetadataCache(nowhere, Cache(), scope="shared")
