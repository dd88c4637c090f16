"""What roles give to accounts, and what the accounts made use of, by the API server's audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nos.testbed.api import Api

Object = dict[str, Any]
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Right(NamedTuple):
    """account: the user's name. resource: with its subresource, as pods/eviction. namespace, name: the only ones that
    it is for; empty: all."""

    account: str
    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = ".".join(filter(None, (self.resource, self.group)))
        return " ".join(filter(None, (self.account.rpartition(":")[2], self.verb, what, self.namespace, self.name)))


def given(objects: Sequence[Object]) -> dict[str, set[Right]]:
    """By role, what it gives to the accounts that it is bound to among these objects. None of a role that is not."""
    rules = {_role(each["kind"], each["metadata"]): each["rules"] for each in objects if each["kind"] in _ROLES}
    found: dict[str, set[Right]] = {}
    for binding in objects:
        if binding["kind"] not in ("ClusterRoleBinding", "RoleBinding"):
            continue
        of = _role(binding["roleRef"]["kind"], binding["metadata"] | {"name": binding["roleRef"]["name"]})
        for subject in binding["subjects"]:
            account = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
            namespace = binding["metadata"].get("namespace", "")
            found.setdefault(of, set()).update(_rights(account, namespace, rules[of]))
    return found


def paths(objects: Sequence[Object]) -> dict[str, list[str]]:
    """By role, the paths that it lets whoever is bound to it get."""
    rules = {each["metadata"]["name"]: each["rules"] for each in objects if each["kind"] == "ClusterRole"}
    found = {name: [rule for rule in of if "nonResourceURLs" in rule] for name, of in rules.items()}
    assert all(rule["verbs"] == ["get"] for of in found.values() for rule in of)
    return {name: [path for rule in of for path in rule["nonResourceURLs"]] for name, of in found.items() if of}


def used(log: Path) -> set[Right]:
    """What was asked for and answered. What was refused, or is not there, is no use of a right."""
    entries = map(json.loads, log.read_text().splitlines())
    return {_asked(entry) for entry in entries if entry["responseStatus"]["code"] not in (401, 403, 404)}


def unused(rights: set[Right], of: set[Right]) -> list[str]:
    """Those that nobody made use of, in words."""
    wider = of | {right._replace(name="") for right in of}
    wider |= {right._replace(namespace="") for right in wider}
    return sorted(map(str, rights - wider))


def in_force(api: Api, objects: Sequence[Object]) -> bool:
    """Whether the API server knows of all that these roles give: it does a moment after they were made."""
    return all(_has(api, right) for right in set().union(*given(objects).values()))


def may_get(api: Api, user: str, path: str) -> bool:
    """Whether the API server lets them: it knows of a binding a moment after it was made, or taken away."""
    return _allowed(api, {"user": user, "nonResourceAttributes": {"path": path, "verb": "get"}})


_ROLES = ("ClusterRole", "Role")


def _role(kind: str, metadata: Object) -> str:
    return metadata["name"] if kind == "ClusterRole" else f"{metadata['namespace']}/{metadata['name']}"


def _rights(account: str, namespace: str, rules: Sequence[Object]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(account, verb, group, resource, namespace, name)


def _asked(entry: Object) -> Right:
    what = entry.get("objectRef", {})
    resource = "/".join(filter(None, (what.get("resource"), what.get("subresource"))))
    where = what.get("namespace", ""), what.get("name", "")
    return Right(entry["user"]["username"], entry["verb"], what.get("apiGroup", ""), resource, *where)


def _has(api: Api, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    asked = {"group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb}
    asked |= {"name": right.name, "namespace": right.namespace}
    return _allowed(api, {"user": right.account, "resourceAttributes": asked})


def _allowed(api: Api, spec: Object) -> bool:
    status, answer = api.request("POST", _REVIEWS, {"spec": spec})
    assert status == 201, answer
    return bool(json.loads(answer)["status"]["allowed"])
