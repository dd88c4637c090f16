"""The label nos.nebuly.com/capacity on Pods with a node: in-quota or over-quota.

Arrives: of each quota whose Pods may have changed sides, who is over. Leaves: the label, for Bindings to carry; and a
patch of each Pod on which it is another than it should be, none where it is right. Pods without a quota have none.
"""

import logging
from collections.abc import Collection, Coroutine, Iterable

from nos.controller.ledger import Ledger
from nos.kube.client import MERGE, Client
from nos.kube.decode import IN_QUOTA, OVER_QUOTA
from nos.kube.encode import capacity_patch, pod_path
from nos.kube.errors import ApiError, Unreachable

_log = logging.getLogger(__name__)


class Capacities:
    """`refresh` and `look` take note, `due` writes."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger
        self._over: dict[str, dict[str, bool]] = {}  # by the core's name of the quota and uid
        self._due: dict[str, None] = {}  # uids, in order
        ledger.pods.seen = self.look

    def of(self, uid: str, namespace: str) -> str:
        """The label that this Pod is to have; empty for none."""
        over = self._over.get(self._ledger.quotas.of(namespace), {}).get(uid)
        return "" if over is None else OVER_QUOTA if over else IN_QUOTA

    def refresh(self, quota: str, capacities: Iterable[tuple[str, bool]]) -> None:
        """Who counts under a quota, and whether over its min."""
        before = self._over.get(quota, {})
        self._over[quota] = over = dict(capacities)
        for uid, is_over in over.items():
            if before.get(uid) is not is_over:
                self.look(uid)

    def moved(self, namespaces: Collection[str]) -> None:
        """These are under another quota now, or none."""
        for name in self._over.keys() - self._ledger.quotas.counted:
            del self._over[name]
        if namespaces:
            for uid, pod in self._ledger.pods.known.items():
                if pod.capacity and pod.key.partition("/")[0] in namespaces:
                    self.look(uid)

    def look(self, uid: str) -> None:
        """This Pod has come, or has changed."""
        if self._is_due(uid):
            self._due[uid] = None

    def due(self) -> Coroutine[None, None, None] | None:
        """The next write that is due."""
        while self._due:
            uid = next(iter(self._due))
            del self._due[uid]
            if self._is_due(uid):
                return self._write(uid)
        return None

    def _is_due(self, uid: str) -> bool:
        pod = self._ledger.pods.known.get(uid)
        if pod is None or not pod.node or pod.leaving:
            return False
        return pod.capacity != self.of(uid, pod.key.partition("/")[0])

    async def _write(self, uid: str) -> None:
        pods = self._ledger.pods.known
        namespace, _, name = pods[uid].key.partition("/")
        label = self.of(uid, namespace)
        body = capacity_patch(uid, label)
        try:
            await self._client.request("PATCH", pod_path(namespace, name), body=body, content_type=MERGE, attempts=2)
        except ApiError as error:
            if error.may_pass:
                self._due[uid] = None
            elif error.status not in (404, 409):  # it is gone, then, or another has its name
                _log.warning("the label of Pod %s/%s: %s", namespace, name, error)
        except Unreachable:
            self._due[uid] = None
        else:
            if uid in pods:
                pods[uid] = pods[uid]._replace(capacity=label)
