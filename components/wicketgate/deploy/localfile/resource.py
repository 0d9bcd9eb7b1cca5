"""The SDK side of `wicketgate-local:index:File`."""

import pulumi


class File(pulumi.CustomResource):
    """A text file on the machine that runs `pulumi up`.

    It is written atomically; missing parent folders are made for the owner alone. A change made by someone else is
    seen by `pulumi refresh` and undone by the next `up`; a deletion leaves a file that someone else has changed.
    Another `path` makes another file. A secret `content` or `path` is refused: secrets do not belong into rendered
    files.
    """

    path: pulumi.Output[str]
    """The absolute path."""
    content: pulumi.Output[str]
    """The text, written as UTF-8."""
    mode: pulumi.Output[str]
    """The permissions in octal, such as `0600`."""
    digest: pulumi.Output[str]
    """`sha256:` and the hexadecimal digest of what was written."""

    def __init__(
        self,
        resource_name: str,
        *,
        path: pulumi.Input[str],
        content: pulumi.Input[str],
        mode: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`path` is absolute and normal; `mode` is `0600` unless given, and lets nobody but the owner write."""
        properties = {"path": path, "content": content, "mode": mode, "digest": None}
        super().__init__("wicketgate-local:index:File", resource_name, properties, opts)
