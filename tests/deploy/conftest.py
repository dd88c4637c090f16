"""One image for all tests that need it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from .buildah import IMAGE, Buildah, make_image, obstacle


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """It has the base and the image."""
    if problem := obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    folder = tmp_path_factory.mktemp("buildah")
    buildah = Buildah(folder)
    buildah.make_base()
    make_image(buildah, IMAGE)
    yield buildah
    shutil.rmtree(folder)
