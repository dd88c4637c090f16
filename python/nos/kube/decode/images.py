"""The images that a Pod needs, under the names that nodes report."""

from functools import lru_cache

from msgspec import Struct
from msgspec.json import Decoder

from nos.kube.pod import Pod


class _ImageVolume(Struct):
    reference: str = ""


_image_volume = Decoder(_ImageVolume | None).decode


def images(pod: Pod) -> tuple[str, ...]:
    """One name per init container, container and image volume."""
    spec = pod.spec
    volumes = (_image_volume(volume["image"]) for volume in spec.volumes if "image" in volume)
    names = (
        *(container.image for container in (*spec.init_containers, *spec.containers)),
        *(volume.reference for volume in volumes if volume),
    )
    return tuple(normalised(name) for name in names if name)


@lru_cache(maxsize=4096)
def normalised(name: str) -> str:
    """With a tag, as kube-scheduler does it: a digest counts for one."""
    return name if name.rfind(":") > name.rfind("/") else f"{name}:latest"
