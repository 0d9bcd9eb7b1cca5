"""What goes wrong in an operation, in the words and the form of the real provider."""

from wicketgate.testing.azuread.schema import tf_name


class OperationError(Exception):
    """An error of an operation: what was attempted, and why it failed.

    Its text is the bridge's: a list of one error, `summary: detail`.
    """

    def __init__(self, summary: str, detail: str = "") -> None:
        self.summary = summary
        self.detail = detail
        what = f"{summary}: {detail}" if detail else summary
        super().__init__(f"1 error occurred:\n\t* {what}\n\n")


class GraphError(Exception):
    """An answer of Graph that was not expected: its status, and Graph's own `code: message`."""

    def __init__(self, status: int, phrase: str, error: str, body: str) -> None:
        self.status = status
        self.error = error
        what = f"error: {error}" if error else f"response: {body}" if body else ""
        shown = f"unexpected status {status} ({status} {phrase})"
        super().__init__(f"{shown} with {what}" if what else f"{shown} received with no body")

    @property
    def not_found(self) -> bool:
        """Whether the object does not exist (yet)."""
        return self.status == 404


class GoneError(Exception):
    """The resource does not exist any more."""


class NotInStandInError(Exception):
    """Something that the real plugin has and this stand-in does not."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the stand-in for the azuread plugin does not have {what}; "
            "use the official plugin for it, or leave it out where that cannot be downloaded"
        )


def already_exists(tf_type: str, identifier: str) -> OperationError:
    """Something exists that would have to be imported (untyped resources)."""
    return OperationError(
        f'A resource with the ID "{identifier}" already exists',
        "To be managed via Terraform, this resource needs to be imported into the State. "
        f'Please see the resource documentation for "{tf_type}" for more information.',
    )


def requires_import(tf_type: str, identifier: str) -> OperationError:
    """The same in the words of the provider's typed resources."""
    said = (
        f'a resource with the ID "{identifier}" already exists - to be managed via Terraform this resource needs '
        f'to be imported into the State. Please see the resource documentation for "{tf_type}" for more information'
    )
    return OperationError(said, said)


def duplicate_name(tf_type: str, identifier: str, name: str) -> OperationError:
    """Something of that name exists, and `preventDuplicateNames` is set."""
    return OperationError(
        f'An existing "{tf_type}" with name "{name}" (ID: "{identifier}") was found and '
        f"`{tf_name('preventDuplicateNames')}` was specified",
        "To be managed via Terraform, this resource needs to be imported into the State. "
        f'Please see the resource documentation for "{tf_type}" for more information.',
    )
