"""Writing what others write, too."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nos.kube.client import pause
from nos.kube.errors import ApiError

_ATTEMPTS = 4
_Result = TypeVar("_Result")


async def retry_on_conflict(edit: Callable[[], Awaitable[_Result]]) -> _Result:
    """What `edit` returns, which reads an object and writes it under the version that it read. It is done anew, a few
    times, when somebody else was faster; after the last time that ApiError is raised."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await edit()
        except ApiError as error:
            if error.status != 409:
                raise
        await asyncio.sleep(pause(attempt))
    return await edit()
