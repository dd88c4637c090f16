"""Settings of the dashboard."""

from msgspec import Struct

from nos.observe.access import is_loopback

USUAL = "127.0.0.1:10258"


class Dashboard(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """address: host:port to serve on; empty: there is none; not given: USUAL, if it is free. cert_file, key_file: for
    TLS; read anew when they change. allow_insecure: on an address that others reach, serve without TLS, behind
    something that has it."""

    address: str | None = None
    cert_file: str = ""
    key_file: str = ""
    allow_insecure: bool = False

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("certFile and keyFile: name both or none")
        if not self.address:
            return
        host, colon, port = self.address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"address: {self.address!r} is no host:port such as {USUAL}")
        if not is_loopback(host) and not self.cert_file and not self.allow_insecure:
            raise ValueError(
                f"address: others reach {self.address}, and tokens are sent there: name certFile and keyFile, or "
                "allowInsecure where something before it has TLS"
            )
