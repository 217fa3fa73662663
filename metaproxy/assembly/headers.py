"""The section ``headers``: what is done to header fields."""

from metaproxy.config.model.headers import Headers, RequestField, ResponseField
from metaproxy.filters.edit_headers import EditHeaders


def edit_headers(section: Headers) -> EditHeaders:
    """Return the check that ``section`` describes."""
    request, response = section.request, section.response
    return EditHeaders(
        remove_from_request=request.remove,
        set_in_request=[_for_upstream(field) for field in request.set],
        add_to_request=[_for_upstream(field) for field in request.add],
        remove_from_response=response.remove,
        set_in_response=[_for_client(field) for field in response.set],
        add_to_response=[_for_client(field) for field in response.add],
    )


def _for_upstream(field: RequestField) -> tuple[str, str]:
    return field.name, field.value.get_secret_value()


def _for_client(field: ResponseField) -> tuple[str, str]:
    return field.name, field.value
