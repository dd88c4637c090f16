"""What can go wrong between nos and the API server, in three kinds that callers treat differently."""


class ApiError(Exception):
    """The API server answered, and the answer is no."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes  # words of the API, such as DisruptionBudget

    @property
    def may_pass(self) -> bool:
        """True where the same request may succeed a little later. A 5xx may also have been carried out."""
        return self.status == 429 or self.status >= 500


class Unreachable(Exception):  # noqa: N818
    """No answer came: refused, cut, or timed out. The request may have been carried out."""


class ConfigError(Exception):
    """What the user gave is wrong or missing; the message names where, what, and the remedy."""
