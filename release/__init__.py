"""What a release consists of, made of what `make wheel` and `make image` left. `make release` runs it."""


class ReleaseError(Exception):
    """Why there is no release, and what to do."""
