"""What a scrape of a book gives, in both formats."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from nos.observe.metrics.book import Book, Values
from tests.controller.in_loop import in_loop

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@in_loop
async def test_what_is_read_is_asked_for_at_each_scrape() -> None:
    book = Book()
    served = book.counter("nos_served_total", "Guests that were served.", "dish")
    hungry = book.gauge("nos_hungry", "Guests that wait.")
    eaten = book.histogram("nos_meal_seconds", "How long they ate.", buckets=(1, 10))
    scrapes = 0

    async def read() -> Values:
        nonlocal scrapes
        scrapes += 1
        return {served: {("soup",): 2.0 * scrapes}, hungry: {(): 7.0}}

    book.read = read
    eaten.observe(3)
    for accept, parse in ("", parse_text), (OPENMETRICS, parse_openmetrics):
        body, content_type = await book.scrape(accept)
        assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in parse(body.decode())
            for sample in family.samples
            if family.name.startswith("nos_")
        }
        # One observation of 3: in the buckets up to 10 and up to infinity, not in that up to 1.
        assert samples == {
            ("nos_served_total", "soup"): 2 * scrapes,
            ("nos_hungry",): 7,
            ("nos_meal_seconds_bucket", "1.0"): 0,
            ("nos_meal_seconds_bucket", "10.0"): 1,
            ("nos_meal_seconds_bucket", "+Inf"): 1,
            ("nos_meal_seconds_count",): 1,
            ("nos_meal_seconds_sum",): 3,
        }
    assert scrapes == 2
