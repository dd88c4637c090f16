"""`nos record`: what a running controller is told and decides, into a file.

Exit codes: 0 when the file is whole (Ctrl-C ends it so), 1 when the controller ended the record or the connection was
lost, and the file is good to there, 2 when nothing was recorded: a wrong command line, an address where nobody answers,
one who may not, names that cannot be replaced. 130 after Ctrl-C while names are replaced: nothing is kept.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import ssl

    import aiohttp


def record(
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write.")],
    url: Annotated[str, typer.Option(help="The controller's dashboard.")] = "http://127.0.0.1:10258",
    token_file: Annotated[str, typer.Option(help="A token of the cluster, where the address wants one.")] = "",
    ca_file: Annotated[str, typer.Option(help="Whom the dashboard's certificate is signed by.")] = "",
    seconds: Annotated[float, typer.Option(help="How long. Default: until Ctrl-C.", show_default=False)] = 0.0,
    most: Annotated[str, typer.Option(help="How large the file may get.")] = "100Mi",
    scrub: Annotated[bool, typer.Option("--scrub", help="Put others in the place of all names.")] = False,
) -> None:
    """Record a running controller until Ctrl-C; nos replay does it again."""
    from nos.kube.errors import ConfigError

    try:
        limit, headers, tls = _bytes(most), _headers(token_file), _tls(ca_file)
        if seconds < 0:
            raise ConfigError(f"--seconds {seconds:g}: expected more than nothing, or leave it out")
        try:
            with ExitStack() as files:

                def begin() -> IO[bytes]:
                    return files.enter_context(tempfile.TemporaryFile() if scrub else open(output, "wb"))

                taken = asyncio.run(_record(begin, limit, url, headers, tls, seconds))
                if scrub:
                    _scrub(taken.file, output)
        except OSError as error:
            raise ConfigError(f"{output}: {error.strerror or error}") from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        raise typer.Exit(0 if taken.why in (_ASKED, _FULL) else 1)
    except ConfigError as error:
        typer.echo(f"nos record: {error}", err=True)
        raise typer.Exit(2) from None


def _bytes(most: str) -> int:
    from nos.kube.errors import ConfigError
    from nos.kube.quantity import nano

    try:
        size = nano(most) // 10**9
    except ValueError as error:
        raise ConfigError(f"--most {most}: {error}; such as 100Mi") from None
    if size < 1:
        raise ConfigError(f"--most {most}: expected more than nothing, such as 100Mi")
    return size


def _headers(token_file: str) -> dict[str, str]:
    from nos.kube.errors import ConfigError

    try:
        return {"Authorization": f"Bearer {Path(token_file).read_text().strip()}"} if token_file else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {token_file}: {error}") from None


def _tls(ca_file: str) -> ssl.SSLContext:
    import ssl

    from nos.kube.errors import ConfigError

    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigError(f"--ca-file {ca_file}: {error}") from None


async def _record(
    begin: Callable[[], IO[bytes]], most: int, url: str, headers: dict[str, str], tls: ssl.SSLContext, seconds: float
) -> _Taken:
    """begin: opens the file, once there is something to write; who is refused finds it as it was."""
    import aiohttp

    from nos.kube.errors import ConfigError

    forever = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=forever, headers=headers) as session:
        try:
            answer = await session.get(f"{url.rstrip('/')}/api/record", ssl=tls)
        except (aiohttp.ClientError, ValueError) as error:
            raise ConfigError(f"{url}: {error}; name the dashboard of the controller that leads with --url") from None
        async with answer:
            if answer.status == 404 or (answer.ok and answer.content_type != "application/x-ndjson"):
                raise ConfigError(
                    f"{url}: no record is to be had there; is it the dashboard of a controller of this nos?"
                )
            if not answer.ok:
                raise ConfigError(f"{url}: {answer.status}: {(await answer.text()).strip()}")
            stop = asyncio.Event()  # before there is a file, a signal simply ends it all
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            taken = _Taken(begin(), most)
            await _until(stop, seconds, taken, answer.content)
    return taken


async def _until(stop: asyncio.Event, seconds: float, taken: _Taken, content: aiohttp.StreamReader) -> None:
    reading, stopping = asyncio.create_task(taken.all(content)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({reading, stopping}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        why = reading.result() if reading.done() else _ASKED
    finally:
        reading.cancel()
        stopping.cancel()
        await asyncio.wait({reading, stopping})
    taken.finish(why)


def _scrub(record: IO[bytes], output: str) -> None:
    from nos.kube.errors import ConfigError
    from nos.record.reader import RecordError
    from nos.record.scrub import scrub

    with tempfile.TemporaryFile() as scrubbed:
        try:
            scrub(record, scrubbed)
        except RecordError as error:
            raise ConfigError(f"nothing is kept: {error}") from None
        scrubbed.seek(0)
        with open(output, "wb") as file:
            shutil.copyfileobj(scrubbed, file)


_ASKED = "asked to"
_FULL = "the file is as large as --most allows"
_TELL_S = 1.0


class _Taken:
    """The file, and what is in it."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file = file
        self.why = ""  # it ends
        self._most = most
        self._bytes = self._edits = self._cycles = 0
        self._tell_at = time.monotonic() + _TELL_S

    async def all(self, content: aiohttp.StreamReader) -> str:
        """Take lines until there are no more; why."""
        import aiohttp
        from msgspec.json import decode

        rest = b""
        try:
            async for chunk in content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b'{"end"'):
                        return str(decode(line)["end"])
                    if self._bytes + len(line) + 1 > self._most:
                        return _FULL
                    self._take(line + b"\n")
                self.file.flush()  # so that others can follow it
        except aiohttp.ClientError as error:
            return f"the connection was lost: {error}"
        return "the connection was lost"

    def _take(self, line: bytes) -> None:
        self.file.write(line)
        self._bytes += len(line)
        self._edits += line.startswith(b'{"edit"')
        self._cycles += line.startswith(b'{"cycle"')
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + _TELL_S
            self._tell()

    def _tell(self) -> None:
        said = f"{self._edits} edits, {self._cycles} cycles, {self._bytes} bytes"
        print(said, file=sys.stderr, flush=True)

    def finish(self, why: str) -> None:
        """Write the last line."""
        from nos.record.codec import last_line

        self.why = why
        self.file.write(last_line(why))
        self.file.flush()
        self._tell()
        if why != _ASKED:
            print(f"nos record: ended: {why}", file=sys.stderr)
