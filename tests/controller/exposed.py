"""A scrape, as tests look at it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.controller.cluster import Controller


class Exposed:
    """What a controller shows at this moment."""

    def __init__(self, running: Controller) -> None:
        status, self.text = running.probe("/metrics")
        assert status == 200
        self.samples = [each for family in text_string_to_metric_families(self.text) for each in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels."""
        return sum(each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {each.labels[label] for each in self.samples if each.name == name}
