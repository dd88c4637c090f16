"""The metadata of objects of which no more than the name matters."""

from msgspec import Struct


class Metadata(Struct, rename="camel"):
    """Which object, in which version."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> str:
        """namespace/name; the name alone where there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
