"""The label nos.nebuly.com/leader on the Pod that leads: a Service that selects by it reaches the dashboard.

Arrives: which Pod we are. Leaves: the label on it, and on no other Pod of its namespace, as long as we lead. Whoever
led before may have died with the label on him, or have written it late: so we look again and again. Nothing but the
Service goes by it; who may act is for the Lease to say.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, encode

from nos.kube.client import MERGE, Client
from nos.kube.encode import pod_path
from nos.kube.errors import ApiError, Unreachable

LABEL = "nos.nebuly.com/leader"
_LOOK_S = 5.0
_LAST_S = 2.0
_log = logging.getLogger(__name__)


class _Metadata(Struct):
    name: str
    uid: str


class _Pod(Struct):
    metadata: _Metadata


class _Pods(Struct):
    items: list[_Pod]


_decode = Decoder(_Pods).decode


async def keep(client: Client, pod: str, may_write: Callable[[], bool]) -> None:
    """Until cancelled. pod: ours, as NAMESPACE/NAME."""
    told = ""
    while True:
        news = ""
        try:
            await _put_right(client, pod, may_write)
        except (ApiError, Unreachable, DecodeError) as error:
            news = f"the Service of the dashboard may not find Pod {pod}, trying again: {error}"
        if news and news != told:
            _log.warning(news)
        told = news
        await asyncio.sleep(_LOOK_S * random.uniform(1.0, 1.2))


async def give_back(client: Client, pod: str) -> None:
    """Take it off our Pod. One try: the next one who leads does it too."""
    try:
        await _label(client, pod, None, timeout=_LAST_S)
    except (ApiError, Unreachable) as error:
        _log.info("Pod %s keeps the label %s until another leads: %s", pod, LABEL, error)


async def _put_right(client: Client, pod: str, may_write: Callable[[], bool]) -> None:
    namespace, _, name = pod.partition("/")
    answer = await client.request("GET", pod_path(namespace, ""), params={"labelSelector": f"{LABEL}=true"})
    labelled = {each.metadata.name: each.metadata.uid for each in _decode(answer).items}
    for other in labelled.keys() - {name}:
        if may_write():
            try:
                await _label(client, f"{namespace}/{other}", None, uid=labelled[other])
            except ApiError as error:
                if error.status not in (404, 409):  # it is gone, then; another may have its name
                    raise
    if name not in labelled and may_write():
        await _label(client, pod, "true")


async def _label(
    client: Client, pod: str, value: str | None, *, uid: str | None = None, timeout: float | None = None
) -> None:
    """Set it, or for None take it off, where the Pod has this uid."""
    namespace, _, name = pod.partition("/")
    body = encode({"metadata": ({"uid": uid} if uid else {}) | {"labels": {LABEL: value}}})
    attempts = 1 if timeout else 4
    await client.request(
        "PATCH", pod_path(namespace, name), body=body, content_type=MERGE, timeout=timeout, attempts=attempts
    )
