"""Who we are to those who ask us over TLS: a certificate of files, read anew when they change, or one that we make."""

import asyncio
import logging
import os
import ssl
import subprocess

from nos.kube.errors import ConfigError

_LOOK_S = 10.0
_MAKE_S = 20.0
_MAKE = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
    *("-days", "3650", "-subj", "/CN=nos", "-addext", "subjectAltName=DNS:nos", "-keyout", "-", "-out", "-"),
)

_log = logging.getLogger(__name__)


class Certificate:
    """Of PEM files. part: of the settings, which names them. Raises ConfigError where they cannot be used."""

    def __init__(self, part: str, cert_file: str, key_file: str) -> None:
        self._part = part
        self._files = cert_file, key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._seen = self._stamps()
        try:
            self._load(self.context)
        except (OSError, ValueError) as error:
            said = "no PEM that belongs together" if isinstance(error, ssl.SSLError) else error
            raise ConfigError(f"{part}: certFile and keyFile: {cert_file}, {key_file}: {said}") from None

    async def renew(self) -> None:
        """Look for others until cancelled; those who are connected keep what they have."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if (stamps := self._stamps()) == self._seen:
                continue
            try:
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # half of a pair may be new
                self._load(self.context)
            except (OSError, ValueError) as error:
                _log.warning("the certificate in use is kept: %s", error)
            else:
                self._seen = stamps
                _log.info("%s: a new certificate is in use", self._part)

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(*self._files, password=_unknown)

    def _stamps(self) -> list[tuple[int, int]]:
        found = []
        for file in self._files:
            try:
                status = os.stat(file)
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino))
        return found


def self_signed(part: str) -> ssl.SSLContext:
    """With a certificate that nobody has signed: what is said is secret, but not to whom. Key and certificate are in
    memory only. By the openssl program, which an image with the usual certificates has anyway. part: see `Certificate`.
    Blocks. Raises ConfigError where there is none."""
    try:
        made = subprocess.run(_MAKE, stdin=subprocess.DEVNULL, capture_output=True, timeout=_MAKE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else error
        raise ConfigError(f"{part}: openssl makes no certificate: {said}; name certFile and keyFile") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with open(os.memfd_create("certificate"), "wb") as file:  # ssl takes nothing but a file
        file.write(made)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _unknown() -> str:
    raise ValueError("the key has a passphrase; give one without")
