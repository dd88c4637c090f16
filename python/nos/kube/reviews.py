"""Whose token that is, and what he may do: asked of the API server, which decides."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.client import Client

_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class User(Struct, frozen=True, omit_defaults=True):
    """Who somebody is to the API server."""

    username: str = ""
    uid: str = ""
    groups: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = {}


class _TokenStatus(Struct):
    authenticated: bool = False
    user: User = User()


class _TokenReview(Struct):
    status: _TokenStatus = field(default_factory=_TokenStatus)


class _AccessStatus(Struct):
    allowed: bool = False
    denied: bool = False


class _AccessReview(Struct):
    status: _AccessStatus = field(default_factory=_AccessStatus)


_token_review = Decoder(_TokenReview).decode
_access_review = Decoder(_AccessReview).decode


async def whose(client: Client, token: str) -> User | None:
    """Who has this token; None when nobody has. Raises ApiError and Unreachable."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = _token_review(await client.request("POST", _TOKENS, body=encode(body), attempts=2)).status
    return status.user if status.authenticated and status.user.username else None


async def may(client: Client, user: User, verb: str, path: str) -> bool:
    """Whether he has the right to this verb (get, ...) on a path that is no resource. Raises ApiError and
    Unreachable."""
    spec = {
        "user": user.username,
        "uid": user.uid,
        "groups": user.groups,
        "extra": user.extra,
        "nonResourceAttributes": {"path": path, "verb": verb},
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    status = _access_review(await client.request("POST", _ACCESS, body=encode(body), attempts=2)).status
    return status.allowed and not status.denied
