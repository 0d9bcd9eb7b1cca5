"""What the real provider demands of single values, in its words.

Each function takes a value of the right type and its Terraform path (`app_role.0.id`), and gives what is
wrong, or None. Sources: `helper/validation` of the Terraform plugin SDK, and the provider's own.
"""

import base64
import binascii
import re
from datetime import datetime
from urllib.parse import urlsplit

from wicketgate.testing.azuread.schema import Validator

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_NOT_IN_CLAIM = re.compile(r"[^A-Za-z0-9:!#$%&'()*+,./:;<=>?@\[\]^+_{|}~`-]")
_NOT_IN_NICKNAME = re.compile(r'[@()\\\[\]";:<>, ]')
_WEB = ("http", "https")
_REDIRECT = ("http", "https", "ms-appx-web", "brk-multihub")


def is_uuid_text(value: str) -> bool:
    """Whether the text is a UUID in its usual form."""
    return _UUID.fullmatch(value) is not None


def uuid(value: str, key: str) -> str | None:
    """A UUID."""
    return None if is_uuid_text(value) else f'expected "{key}" to be a valid UUID, got {value}'


def not_empty(value: str, key: str) -> str | None:
    """At least one character."""
    return None if value else f'expected "{key}" to not be an empty string, got {value}'


def not_blank(value: str, key: str) -> str | None:
    """At least one character that is not white space."""
    return None if value.strip() else f'expected "{key}" to not be an empty string or whitespace'


def base64_text(value: str, key: str) -> str | None:
    """Standard base64, not empty."""
    if not value:
        return not_empty(value, key)
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return f'expected "{key}" to be a base64 string, got {value}'
    return None


def rfc3339(value: str, key: str) -> str | None:
    """A date and time with its zone."""
    try:
        if _RFC3339.fullmatch(value):
            datetime.fromisoformat(value)
            return None
    except ValueError:
        pass
    return f'expected "{key}" to be a valid RFC3339 date, got "{value}"'


def length(low: int, high: int) -> Validator:
    """A text of so many bytes."""

    def check(value: str, key: str) -> str | None:
        if low <= len(value.encode()) <= high:
            return None
        return f"expected length of {key} to be in the range ({low} - {high}), got {value}"

    return check


def between(low: int, high: int) -> Validator:
    """A whole number in a range."""

    def check(value: int, key: str) -> str | None:
        return None if low <= value <= high else f"expected {key} to be in the range ({low} - {high}), got {value}"

    return check


def one_of(*allowed: str) -> Validator:
    """One of a few texts."""

    def check(value: str, key: str) -> str | None:
        if value in allowed:
            return None
        listed = " ".join(f'"{item}"' for item in allowed)
        return f"expected {key} to be one of [{listed}], got {value}"

    return check


def token_version(value: int, _key: str) -> str | None:
    """The access token version of an application."""
    return None if value in (1, 2) else "Value must be one of: 1, 2"


def claim_value(value: str, _key: str) -> str | None:
    """The value of an app role or permission scope."""
    if len(value) > 249:
        return "Value must be between 0-249 characters in length"
    if value.startswith("."):
        return "Value must not begin with a period"
    if _NOT_IN_CLAIM.search(value):
        return "Value must be alphanumeric with these allowed characters: !#$%&'()*+,-./:;<=>?@[]^+_`{|}~"
    return None


def mail_nickname(value: str, _key: str) -> str | None:
    """A group's mail alias."""
    if _NOT_IN_NICKNAME.search(value):
        return 'Value cannot contain these characters: @()\\[]";:<>,SPACE'
    return None


def resource_id(*segments: str) -> Validator:
    """An ID made of these segments; one in braces stands for any text: `/applications/{applicationId}`."""

    def check(value: str, _key: str) -> str | None:
        try:
            parse_id(value, *segments)
        except ValueError as error:
            return str(error)
        return None

    return check


def parse_id(value: str, *segments: str) -> dict[str, str]:
    """The parts of an ID by the names in braces. Raises ValueError if it is not of that form."""
    wanted = "/" + "/".join(segments)
    parts = value.removeprefix("/").split("/")
    fits = value.startswith("/") and len(parts) == len(segments)
    if not fits or any(not _fits(segment, part) for segment, part in zip(segments, parts, strict=True)):
        raise ValueError(f'parsing "{value}": expected a Resource ID that matched "{wanted}"')
    return {segment[1:-1]: part for segment, part in zip(segments, parts, strict=True) if segment.startswith("{")}


def _fits(segment: str, part: str) -> bool:
    return bool(part) if segment.startswith("{") else part == segment


application_id = resource_id("applications", "{applicationId}")


def uri(
    value: str, key: str, *, schemes: tuple[str, ...], urn: bool, bare_slash: bool = True, slash: bool = False
) -> str | None:
    """A URI with a host and one of the schemes (any, if none is named).

    `bare_slash` allows a path of `/` alone, `slash` demands at least that, `urn` allows `urn:a:b`.
    """
    if not value:
        return f'URI must not be empty for "{key}"'
    parts = value.split(":")
    if urn and len(parts) >= 3 and parts[0] == "urn":
        return None
    try:
        split = urlsplit(value)
    except ValueError:
        return f'URI is in an invalid format for "{key}"'
    if not bare_slash and split.path == "/":
        return f'URI must not have a trailing slash when there is no path segment for "{key}"'
    if not split.netloc:
        return f'URI has no host for "{key}"'
    if schemes and slash and not split.path:
        return f'URI must have a trailing slash when there is no path segment for "{key}"'
    if schemes and split.scheme not in schemes:
        return f'unexpected URI scheme for "{key}", expected one of: {", ".join(schemes)}'
    return None


def web_url(value: str, key: str) -> str | None:
    """An http or https URL."""
    return uri(value, key, schemes=_WEB, urn=False)


def logout_url(value: str, key: str) -> str | None:
    """An http or https URL of at most 255 characters."""
    wrong = web_url(value, key)
    if wrong is None and len(value) > 255:
        return f'URL must be 255 characters or less for "{key}"'
    return wrong


def redirect_uri(*, urn: bool, any_scheme: bool) -> Validator:
    """A redirect URI of at most 256 characters."""

    def check(value: str, key: str) -> str | None:
        wrong = uri(value, key, schemes=() if any_scheme else _REDIRECT, urn=urn, slash=True)
        if wrong is None and len(value) > 256:
            return f'URI must be 256 characters or less for "{key}"'
        return wrong

    return check


def parse_sub_id(value: str, kind: str, what: str) -> tuple[str, str]:
    """The two UUIDs of an ID in the older form `{objectId}/kind/{subId}`. Raises ValueError."""
    prefix = f"unable to parse {what}: "
    parts = value.split("/")
    if len(parts) != 3:
        form = "{objectId}/{type}/{subId}"
        raise ValueError(f'{prefix}object Resource ID should be in the format {form} - but got "{value}"')
    owner, said, sub = parts
    if not is_uuid_text(owner):
        raise ValueError(f'{prefix}object ID isn\'t a valid UUID ("{owner}")')
    if said != kind:
        raise ValueError(f"{prefix}type in {{objectID}}/{{type}}/{{subID}} was expected to be {kind}, got {said}")
    if not is_uuid_text(sub):
        raise ValueError(f'{prefix}object Sub Resource ID isn\'t a valid UUID ("{sub}")')
    return owner, sub
