"""Nodes from anything that answers over HTTPS: four calls, of which each may be made twice.

What is on the other side may be slow, wrong or half broken; whatever it says, the outcome is a Survey that makes sense,
or a BackendError in words.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from msgspec import DecodeError, Meta, Struct, ValidationError, field
from msgspec.json import Decoder, encode

from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.template import TemplateSettings, layout_problem
from nos.kube.client import pause
from nos.kube.new_node import layout_text

_ATTEMPTS = 3
_MOST_BYTES = 32 * 2**20  # of an answer
_REFUSED = (409, 507)  # it makes no such node now
_MOST_WORDS = 300
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class WebhookSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Where it is, and how it and nos prove who they are. Files are read anew when they change."""

    url: str
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    timeout_seconds: Annotated[float, Meta(gt=0, le=300)] = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"url: {self.url!r} is no address such as https://nodes.example.com/nos")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError(f"url: {self.url} is not encrypted; use https, or http on this machine alone")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("certFile and keyFile: name both or none")


class _Group(Struct, rename="camel"):
    id: Annotated[str, Meta(min_length=1, max_length=253)]
    template: TemplateSettings
    price: Annotated[float, Meta(ge=0, le=1_000_000)]  # dollars per hour
    target: _Count
    min: _Count = 0
    max: _Count = 1_000_000
    uses: dict[str, _Count] = field(default_factory=dict)
    names_victims: bool = True
    drains: bool = False
    boot_seconds: Annotated[float, Meta(gt=0, le=604_800)] = 900.0
    problem: str = ""


class _Instance(Struct, rename="camel"):
    id: Annotated[str, Meta(min_length=1, max_length=253)]
    group: str
    state: Literal["coming", "up", "going", "failed"]
    node: str = ""
    since: float = 0.0
    pods: tuple[str, ...] = ()
    message: str = ""
    layout: str = ""


class _Groups(Struct, rename="camel"):
    groups: tuple[_Group, ...]
    instances: tuple[_Instance, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)


class _Message(Struct):
    message: str = ""


T = TypeVar("T")
_groups, _message = Decoder(_Groups).decode, Decoder(_Message).decode


class Webhook:
    """A backend; see `nos.autoscaler.backend`."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")

    async def survey(self) -> Survey:
        """GET /groups."""
        try:
            said = _groups(await self._call("GET", "/groups"))
        except (ValidationError, DecodeError) as error:
            raise BackendError(f"{self._url}/groups: {error}") from None
        return Survey(
            groups=tuple(map(_group, said.groups)),
            instances=tuple(
                Instance(one.id, one.group, State(one.state), one.node, one.since, one.pods, one.message, one.layout)
                for one in said.instances
            ),
            limits=said.limits,
        )

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """POST /groups/{id}/increase."""
        nodes = [
            {
                "requestId": order.request,
                "pods": order.pods,
                "layout": layout_text(order.layout),
                "resources": order.resources(),
            }
            for order in orders
        ]
        await self._call("POST", _path(group, "increase"), {"from": group.target, "nodes": nodes})

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """POST /groups/{id}/cancel."""
        await self._call("POST", _path(group, "cancel"), _named(instances))

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """POST /groups/{id}/delete."""
        await self._call("POST", _path(group, "delete"), _named(instances))

    async def _call(self, method: str, path: str, body: object = None) -> bytes:
        """The answer to it; tried a few times, as every call may be made twice."""
        what = f"{self._url}{path}"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                status, answer = await self._once(method, what, body)
            except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
                if attempt == _ATTEMPTS:
                    raise BackendError(f"{what}: {_words(error)}") from None
            else:
                if 200 <= status < 300:
                    return answer
                if status < 500 or status in _REFUSED or attempt == _ATTEMPTS:
                    kind = OrderRefusedError if method == "POST" and status in _REFUSED else BackendError
                    raise kind(f"{what}: {status}: {_said(answer)}")
            await asyncio.sleep(pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, url: str, body: object) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._settings.token_file:
            headers["Authorization"] = f"Bearer {_read(self._settings.token_file, 'tokenFile')}"
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                method,
                url,
                data=encode(body) if body is not None else None,
                headers=headers,
                ssl=self._tls(),
                allow_redirects=False,
            ) as response,
        ):
            answer = await response.content.read(_MOST_BYTES + 1)
            while answer and not response.content.at_eof() and len(answer) <= _MOST_BYTES:
                answer += await response.content.read(_MOST_BYTES + 1 - len(answer))
            if len(answer) > _MOST_BYTES:
                raise BackendError(f"{url}: the answer is larger than {_MOST_BYTES >> 20} MiB")
            return response.status, answer

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self._settings
        if not self._url.startswith("https:"):
            return True
        ca, cert, key = settings.ca_file, settings.cert_file, settings.key_file
        context = _loaded("caFile", ca, lambda: ssl.create_default_context(cafile=ca or None))
        if cert:
            _loaded("certFile", cert, lambda: context.load_cert_chain(cert, key))
        return context


def _group(said: _Group) -> Group:
    template = said.template.node()
    return Group(
        id=said.id,
        template=template,
        price=round(said.price * 1_000_000),
        target=said.target,
        min=said.min,
        max=said.max,
        uses=said.uses,
        names_victims=said.names_victims,
        drains=said.drains,
        boot_seconds=said.boot_seconds,
        problem=said.problem or layout_problem(template),
    )


def _named(instances: Sequence[Instance]) -> dict[str, object]:
    return {"instances": [{"id": one.id, "node": one.node} for one in instances]}


def _path(group: Group, verb: str) -> str:
    return f"/groups/{quote(group.id, safe='')}/{verb}"


def _read(file: str, what: str) -> str:
    return _loaded(what, file, lambda: Path(file).read_text().strip())


def _loaded(what: str, file: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (OSError, ValueError) as error:
        raise BackendError(f"scaling.webhook.{what}: {file}: {error}; name a readable file of that kind") from None


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it has not answered in time"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _said(answer: bytes) -> str:
    try:
        words = _message(answer).message
    except (ValidationError, DecodeError):
        words = answer[:_MOST_WORDS].decode(errors="replace").strip()
    return words[:_MOST_WORDS] or "it says nothing of why"
