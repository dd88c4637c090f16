"""The webhook against a real HTTPS server, which keeps to the contract, lies, is slow and breaks off."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web

from nos.autoscaler.backend import BackendError, Group, Order, OrderRefusedError, State
from nos.autoscaler.webhook import Webhook, WebhookSettings
from nos.controller.settings import Settings
from tests.autoscaler.platform_server import Authority, Platform
from tests.controller.in_loop import in_loop

DOC = (Path(__file__).parents[2] / "docs" / "autoscaling" / "webhook.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOC, re.DOTALL)]


def webhook(url: str, **settings: Any) -> Webhook:
    return Webhook(WebhookSettings(url, **({"timeout_seconds": 5.0} | settings)))


async def group_of(backend: Webhook) -> Group:
    return (await backend.survey()).groups[0]


@in_loop
async def test_what_the_documentation_shows_is_understood() -> None:
    platform = Platform()
    platform.answers.append(web.json_response(EXAMPLES[0]))
    async with platform.serving() as url:
        survey = await webhook(url).survey()
    (group,) = survey.groups
    assert (group.id, group.price, group.target, group.max, group.uses) == (
        "h100",
        55_040_000,
        1,
        20,
        {"project-gpus": 8},
    )
    assert group.template.status.allocatable["nvidia.com/gpu"] == "8"
    assert group.template.spec.taints[0].effect == "NoSchedule"
    assert group.problem == ""
    (instance,) = survey.instances
    assert (instance.id, instance.state, instance.pods) == ("vm-17", State.COMING, ("3f0c...uid",))
    assert survey.limits == {"project-gpus": 56}
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", DOC, re.DOTALL)[1])  # type: ignore[index]
    assert msgspec.convert(settings, Settings).scaling.webhook is not None


@in_loop
async def test_orders_are_made_as_the_documentation_shows_and_once() -> None:
    platform = Platform()
    platform.group("h/100")
    async with platform.serving() as url:
        backend = webhook(url)
        group = await group_of(backend)
        order = Order("r-1", ("u-1",), ((True, [("3g.40gb", 0), ("3g.40gb", 4)]), (False, [])))
        await backend.increase(group, [order])
        await backend.increase(group, [order])
        assert platform.seen[0].keys() == EXAMPLES[1].keys()
        (node,) = platform.seen[0]["nodes"]
        assert node.keys() == EXAMPLES[1]["nodes"][0].keys()
        assert node["layout"] == EXAMPLES[1]["nodes"][0]["layout"] == "0:3g.40gb@0,0:3g.40gb@4"
        assert node["resources"] == EXAMPLES[1]["nodes"][0]["resources"]
        assert platform.seen[0]["from"] == 0
        assert (
            platform.calls[-1] == "POST /groups/h%2F100/increase" or platform.calls[-1] == "POST /groups/h/100/increase"
        )
        survey = await backend.survey()
        assert survey.groups[0].target == 1
        (instance,) = survey.instances
        assert (instance.pods, instance.state) == (("u-1",), State.COMING)
        await backend.cancel(survey.groups[0], [instance])
        assert platform.seen[-1].keys() == EXAMPLES[2].keys()
        assert platform.seen[-1]["instances"][0].keys() == EXAMPLES[2]["instances"][0].keys()
        assert (await group_of(backend)).target == 0
        await backend.delete(group, [instance])  # it is gone already


@in_loop
async def test_a_lost_answer_is_asked_for_again_and_makes_nothing_twice() -> None:
    platform = Platform()
    platform.group("a")
    async with platform.serving() as url:
        backend = webhook(url)
        group = await group_of(backend)
        platform.answers.append(web.Response(status=502, text="<html>bad gateway</html>"))
        await backend.increase(group, [Order("r"), Order("s")])
        assert platform.calls.count("POST /groups/a/increase") == 2
        assert (await group_of(backend)).target == 2


@in_loop
async def test_it_is_asked_three_times_and_no_more() -> None:
    platform = Platform()
    async with platform.serving() as url:
        platform.answers = [web.json_response({"message": "database is down"}, status=503) for _ in range(9)]
        with pytest.raises(BackendError, match=r"/groups: 503: database is down"):
            await webhook(url).survey()
        assert len(platform.calls) == 3


@in_loop
async def test_a_refusal_is_no_fault() -> None:
    platform = Platform()
    platform.group("a")
    async with platform.serving() as url:
        backend = webhook(url)
        group = await group_of(backend)
        platform.answers = [web.json_response({"message": "the project has 8 of 8 GPUs"}, status=409)]
        with pytest.raises(OrderRefusedError, match="the project has 8 of 8 GPUs"):
            await backend.increase(group, [Order("r")])
        platform.answers = [web.Response(status=404)]
        with pytest.raises(BackendError, match="it says nothing of why") as error:
            await backend.increase(group, [Order("r")])
        assert not isinstance(error.value, OrderRefusedError)


GOOD = {"id": "a", "price": 1.0, "target": 0, "template": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}}}
NO_PODS = {"allocatable": {"cpu": "1", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<html>", "JSON is malformed"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `groups`"),
        (GOOD | {"target": -1}, "Expected `int` >= 0 - at `$.groups[0].target`"),
        (GOOD | {"price": -1.0}, "Expected `float` >= 0.0 - at `$.groups[0].price`"),
        (GOOD | {"price": "cheap"}, "Expected `float`, got `str` - at `$.groups[0].price`"),
        (GOOD | {"id": ""}, "Expected `str` of length >= 1 - at `$.groups[0].id`"),
        (GOOD | {"template": NO_PODS}, "allocatable: pods is missing, so that no Pod would fit; add it"),
        (
            GOOD | {"template": {"allocatable": {"cpu": "much"}}},
            "cpu: 'much' is not a Kubernetes quantity",
        ),
        (GOOD | {"template": NO_PODS | {"taints": [{"key": "a", "effect": "x"}]}}, "an effect of NoSchedule"),
    ],
)
def test_nonsense_is_said_in_words(answer: object, said: str) -> None:
    async def run() -> None:
        platform = Platform()
        body = answer if isinstance(answer, str) else json.dumps({"groups": [answer]})
        platform.answers = [web.Response(text=body, content_type="application/json")]
        async with platform.serving() as url:
            with pytest.raises(BackendError, match=re.escape(said)):
                await webhook(url).survey()

    in_loop(run)()


@in_loop
async def test_an_unknown_product_that_nos_is_to_cut_is_a_problem_of_its_group() -> None:
    platform = Platform()
    labels = {"nos.nebuly.com/gpu-partitioning": "mig"}
    for id_, more in (("a", {}), ("b", {"nvidia.com/gpu.product": "Voodoo-2"})):
        platform.group(id_, template={**platform_template(), "labels": labels | more})
    async with platform.serving() as url:
        problems = [group.problem for group in (await webhook(url).survey()).groups]
    assert "no label nvidia.com/gpu.product" in problems[0]
    assert "no layout can be planned for nvidia.com/gpu.product Voodoo-2" in problems[1]


def platform_template() -> dict[str, Any]:
    platform = Platform()
    platform.group("x")
    template: dict[str, Any] = platform.groups["x"]["template"]
    return template


@in_loop
async def test_one_that_takes_too_long_or_is_not_there_is_said() -> None:
    platform = Platform()
    platform.answers = [3.0, 3.0, 3.0]
    async with platform.serving() as url:
        with pytest.raises(BackendError, match="it has not answered in time"):
            await webhook(url, timeout_seconds=0.1).survey()
    with pytest.raises(BackendError, match="Connect"):
        await webhook(url).survey()


@in_loop
async def test_it_is_not_sent_elsewhere_and_reads_no_flood() -> None:
    platform = Platform()
    async with platform.serving() as url:
        platform.answers = [web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})]
        with pytest.raises(BackendError, match="302"):
            await webhook(url).survey()
        platform.answers = [web.Response(body=b"x" * (33 << 20))]
        with pytest.raises(BackendError, match="the answer is larger than 32 MiB"):
            await webhook(url, timeout_seconds=60.0).survey()


def tls(cert: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


def test_both_prove_who_they_are(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    server, client = tls(*ours.issue("server"), clients=ours.file), ours.issue("nos")
    token = tmp_path / "token"
    token.write_text("first\n")

    async def run() -> None:
        platform = Platform()
        platform.token = "first"
        async with platform.serving(server) as url:
            mine = {"cert_file": str(client[0]), "key_file": str(client[1])}
            trusted = {"ca_file": str(ours.file), "token_file": str(token)}
            assert await webhook(url, **trusted, **mine).survey()
            platform.token = "second"
            with pytest.raises(BackendError, match=r"401: who are you\?"):
                await webhook(url, **trusted, **mine).survey()
            token.write_text("second")
            assert await webhook(url, **trusted, **mine).survey()
            with pytest.raises(BackendError, match=r"certificate verify failed"):
                await webhook(url, **trusted | {"ca_file": str(others.file)}, **mine).survey()
            before = len(platform.calls)
            with pytest.raises(BackendError):  # without a certificate of our own
                await webhook(url, **trusted).survey()
            assert len(platform.calls) == before
            with pytest.raises(BackendError, match=r"scaling\.webhook\.tokenFile: .*nowhere"):
                await webhook(url, **trusted | {"token_file": str(tmp_path / "nowhere")}, **mine).survey()
            with pytest.raises(BackendError, match=r"scaling\.webhook\.caFile: .*token"):
                await webhook(url, **trusted | {"ca_file": str(token)}, **mine).survey()

    in_loop(run)()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "nodes"}, "'nodes' is no address"),
        ({"url": "http://nodes.example.com"}, "is not encrypted; use https"),
        ({"url": "https://n", "certFile": "a"}, "name both or none"),
        ({"url": "https://n", "timeoutSeconds": 0}, "> 0"),
        ({}, "url"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(said)):
        msgspec.convert(settings, WebhookSettings)
