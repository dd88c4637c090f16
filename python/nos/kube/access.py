"""Where the API server is and how to prove who we are.

In come a kubeconfig (or nothing, inside a cluster); out come the server's URL, a TLS context, and, for every request,
fresh headers. Token files are read again every minute, exec credentials when they are about to expire or when the API
server has answered 401.

The `kubernetes` package reads kubeconfigs and runs exec plugins; it does both synchronously, so it runs in a thread.
What it swallows (a failing exec plugin leaves it without credentials) is an error here. In a Pod it is not even
imported: three files and two variables are all there is to know, and it takes 18 MB and a third of a second.
"""

import asyncio
import base64
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from nos.kube.errors import ConfigError

_FRESH_S = 60.0  # how long headers are used before the package is asked again
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class _Loaded:
    server: str
    tls: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None
    authorization: Callable[[], str | None]


class Access:
    """One API server and our credentials for it. Made by `Access.load`."""

    def __init__(self, load: Callable[[], _Loaded]) -> None:
        self._load = load
        self._loaded = load()
        self._authorization = self._loaded.authorization()
        self._fetched = time.monotonic()
        self._lock = asyncio.Lock()

    @classmethod
    def load(cls, kubeconfig: str | None = None, context: str | None = None) -> "Access":
        """Read the kubeconfig named, else the service account of this Pod, else the user's kubeconfig.

        Blocks (files, exec plugins). Raises ConfigError.
        """
        in_cluster = kubeconfig is None and context is None and (_SERVICE_ACCOUNT / "token").exists()
        return cls(_load_in_cluster if in_cluster else lambda: _load_kubeconfig(kubeconfig, context))

    @property
    def server(self) -> str:
        """The API server's URL, without a slash at its end."""
        return self._loaded.server

    @property
    def request_options(self) -> dict[str, Any]:
        """What aiohttp needs to reach the server, besides the URL."""
        options: dict[str, Any] = {}
        if self._loaded.tls is not None:
            options["ssl"] = self._loaded.tls
        if self._loaded.server_hostname:
            options["server_hostname"] = self._loaded.server_hostname
        if self._loaded.proxy:
            options["proxy"] = self._loaded.proxy
        return options

    async def headers(self) -> dict[str, str]:
        """The headers that authenticate a request sent now."""
        if time.monotonic() - self._fetched > _FRESH_S:
            async with self._lock:
                if time.monotonic() - self._fetched > _FRESH_S:
                    self._authorization = await asyncio.to_thread(self._loaded.authorization)
                    self._fetched = time.monotonic()
        return {"Authorization": self._authorization} if self._authorization else {}

    async def renew(self) -> None:
        """Read everything anew: the API server did not accept what we had."""
        async with self._lock:
            self._loaded = await asyncio.to_thread(self._load)
            self._authorization = await asyncio.to_thread(self._loaded.authorization)
            self._fetched = time.monotonic()


def _load_in_cluster() -> _Loaded:
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host or not port:
        raise ConfigError(
            "the service account of this Pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not say where "
            "the API server is; set them, or name a kubeconfig with --kubeconfig"
        )
    token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"

    def authorization() -> str:
        return f"Bearer {token.read_text().strip()}"

    try:
        authorization()
        tls = ssl.create_default_context(cafile=str(authority))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the service account of this Pod: {token} and {authority}: {error}") from None
    return _Loaded(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        tls=tls,
        server_hostname=None,
        proxy=None if proxy_bypass(host) else getproxies().get("https"),
        authorization=authorization,
    )


def _load_kubeconfig(path: str | None, context: str | None) -> _Loaded:
    from kubernetes.client import Configuration
    from kubernetes.config import KUBE_CONFIG_DEFAULT_LOCATION, ConfigException
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    where = path or KUBE_CONFIG_DEFAULT_LOCATION
    configuration = Configuration()
    try:
        merged = KubeConfigMerger(where).config  # type: ignore[no-untyped-call]
        if merged is None:
            raise ConfigError(f"kubeconfig {where}: not found; name one with --kubeconfig")
        loader: Any = KubeConfigLoader(  # type: ignore[no-untyped-call]
            config_dict=merged, active_context=context, config_base_path=None
        )
        loader.load_and_set(configuration)
        user = loader._user
        token_file = _token_file(user) if user else None
        wants_exec = user is not None and "exec" in user and not (user.safe_get("token") or user.safe_get("tokenFile"))
    except ConfigError:
        raise
    except ConfigException as error:
        raise ConfigError(f"kubeconfig {where}: {error}") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"kubeconfig {where}: cannot be read: {error}") from None
    except Exception as error:  # the YAML parser's own errors, whose class is no part of the package's interface
        raise ConfigError(f"kubeconfig {where}: {type(error).__name__}: {error}") from None
    if wants_exec and not configuration.api_key and not configuration.cert_file:
        raise ConfigError(f"kubeconfig {where}: its exec plugin gave no credentials; the log has its error")
    return _of(configuration, token_file)


def _token_file(user: Any) -> Path | None:
    """The user's tokenFile, which the package reads only once; None where a literal token takes precedence."""
    if user.safe_get("token") or not user.safe_get("tokenFile"):
        return None
    base = Path(user.path).parent if user.path else Path()
    return base / str(user["tokenFile"])


def _of(configuration: Any, token_file: Path | None) -> _Loaded:
    def authorization() -> str | None:
        if token_file is not None:
            return f"Bearer {token_file.read_text().strip()}"
        key = configuration.get_api_key_with_prefix("BearerToken")  # refreshes what is about to expire
        if key:
            return str(key)
        if configuration.username:
            basic = f"{configuration.username}:{configuration.password or ''}".encode()
            return f"Basic {base64.b64encode(basic).decode()}"
        return None

    server = str(configuration.host).rstrip("/")
    if urlsplit(server).scheme not in ("http", "https"):
        raise ConfigError(f"kubeconfig: the server {server!r} is no http(s) URL")
    return _Loaded(
        server=server,
        tls=_tls(configuration) if server.startswith("https") else None,
        server_hostname=configuration.tls_server_name or None,
        proxy=configuration.proxy or None,
        authorization=authorization,
    )


def _tls(configuration: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"kubeconfig: certificates cannot be read: {error}") from None
    return context
