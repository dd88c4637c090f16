"""The chart: what it says of its values, what it refuses, and that kustomize gives the same."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import nos
from nos.controller import settings
from nos.testbed import binaries
from nos.testbed.progress import Progress
from tests.deploy import written
from tests.deploy.helm import CHART, DEPLOY, NAMESPACE, HelmError, by_template, helm, objects, rendered

OVERLAYS: dict[str, dict[str, Any]] = {
    "base": {},
    "overlays/monitoring": {"monitoring": {"serviceMonitors": True, "rules": True, "dashboards": True}},
    "overlays/network": {"networkPolicy": {"enabled": True}},
    "overlays/gpu-taint": {"gpuTaint": {"enabled": True}},
    "overlays/without-agents": {"gpuPartitioner": {"enabled": False}},
    "overlays/agents-apart": {"gpuPartitioner": {"migAgent": {"namespace": "nos-agents"}}},
}
REFUSED = [
    ({"scheduler": {"replicaCount": "two"}}, "at '/scheduler/replicaCount': got string, want integer"),
    ({"scheduler": {"replicas": 3}}, "at '/scheduler': additional properties 'replicas' not allowed"),
    ({"knownMigGeometries": []}, "additional properties 'knownMigGeometries' not allowed"),  # the old chart took it
    ({"image": {"pullPolicy": "Sometimes"}}, "'/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'N"),
    ({"scheduler": {"config": {"score": "best"}}}, "'/scheduler/config/score': 'best' does not match pattern '^(nos|f"),
    ({"scheduler": {"config": {"binding": {"inFlite": 1}}}}, "'/scheduler/config/binding': additional properties 'inF"),
    ({"scheduler": {"config": {"binding": {"inFlight": 0}}}}, "inFlight': minimum: got 0, want 1"),
    ({"scheduler": {"env": [{"name": "ARG", "value": 0.1}]}}, "at '/scheduler/env/0/value': got number, want string"),
    ({"gpuPartitioner": {"migAgent": {"env": [{"value": "a"}]}}}, "migAgent/env/0': missing property 'name'"),
    ({"runAsUser": 0}, "at '/runAsUser': minimum: got 0, want 1"),
    ({"gpuPartitioner": {"migAgent": {"hand": "csi"}}}, "hand': value must be one of 'environment', 'cdi'"),
    ({"gpuPartitioner": {"migAgent": {"namespace": "a b"}}}, "namespace': 'a b' does not match pattern"),
    (
        {"gpuPartitioner": {"migAgent": {"kubeletDirectory": "kubelet/"}}},
        "kubeletDirectory': 'kubelet/' does not match",
    ),
    ({"dashboard": {"enabled": True}}, "name a TLS Secret in dashboard.tlsSecretName"),
    ({"scheduler": {"config": {"leaderElection": {"enabled": False}}}}, "of several replicas one has to lead"),
]


def kustomized(folder: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would apply."""
    kubectl = binaries.ensure(("kubectl",), Progress(quiet=True))["kubectl"]
    done = subprocess.run([kubectl, "kustomize", DEPLOY / "kustomize" / folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def by_name(found: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Without what only Helm reads, and the namespace, which only kustomize makes."""
    result = {}
    for each in found:
        metadata = each["metadata"]
        kept = {key: value for key, value in metadata.pop("annotations", {}).items() if not key.startswith("helm.sh/")}
        each["metadata"] = metadata | ({"annotations": kept} if kept else {})
        result[each["kind"], metadata.get("namespace", ""), metadata["name"]] = each
    assert len(result) == len(found)
    result.pop(("Namespace", "", NAMESPACE), None)
    return result


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_chart_and_kustomize_give_the_same(overlay: str) -> None:
    chart, kustomize = by_name(objects(OVERLAYS[overlay])), by_name(kustomized(overlay))
    assert sorted(chart) == sorted(kustomize)
    for name in chart:
        assert chart[name] == kustomize[name], name


def test_every_overlay_is_compared() -> None:
    folders = [path.parent for path in (DEPLOY / "kustomize" / "overlays").glob("*/kustomization.yaml")]
    assert {f"overlays/{folder.name}" for folder in folders} == set(OVERLAYS) - {"base"}


def test_the_files_are_up_to_date() -> None:
    command = "run: python -m tests.deploy.written"
    assert written.SCHEMA.read_text() == written.schema(), command
    assert written.README.read_text() == written.readme(), command
    for path, text in written.manifests().items():
        assert path.read_text() == text, f"{path}: {command}"


def test_each_template_is_rendered_by_something() -> None:
    templates = {str(path.relative_to(CHART / "templates")) for path in CHART.glob("templates/*/*.yaml")}
    found = {name for given in [*written.RENDERINGS, *OVERLAYS.values()] for name in by_template(rendered(given))}
    assert found == templates


def of_schema(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """Its values' paths, and whether only the old nos knew them."""
    for name, kind in schema.get("properties", {}).items():
        yield f"{path}{name}", kind.get("deprecated", False)
        yield from of_schema(kind, f"{path}{name}.")


def test_each_value_has_a_meaning_and_a_type() -> None:
    def paths(given: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, value in given.items():
            yield f"{path}{name}"
            if isinstance(value, dict) and not (path + name).endswith(".resources"):
                yield from paths(value, f"{path}{name}.")

    given = set(paths(yaml.safe_load((CHART / "values.yaml").read_text())))
    typed = dict(of_schema(json.loads(written.SCHEMA.read_text())))
    inside = {path for path in typed if path.rpartition(".")[0].endswith(".resources")}
    assert {value.path for value in written.values()} == given
    assert {path for path, old in typed.items() if not old} - inside == given | {"global"}  # Helm adds that itself


@pytest.mark.parametrize(("values", "complaint"), REFUSED, ids=[complaint for _, complaint in REFUSED])
def test_what_does_not_fit_is_refused(values: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(HelmError) as refused:
        rendered(values)
    assert complaint in str(refused.value).replace('\\"', "'").replace("\\\\", "\\")


def test_the_namespace_default_is_refused_unless_wanted() -> None:
    with pytest.raises(HelmError, match="install with --namespace nebuly-nos --create-namespace"):
        rendered(namespace="default")
    assert objects({"allowDefaultNamespace": True}, namespace="default")


def test_no_trace_of_the_usual_namespace_in_another() -> None:
    for values in [*written.RENDERINGS, *OVERLAYS.values()]:
        assert NAMESPACE not in json.dumps(objects(values, namespace="gpu"))


def test_values_of_the_old_nos_are_named_after_installing() -> None:
    """Those of a file that its users have: what still means something is heard, the rest is told, not refused."""
    old = {
        "shareTelemetry": False,
        "nvidiaGpuResourceMemoryGB": 40,
        "operator": {"enabled": True, "resources": {"limits": {"cpu": "1"}}},
        "scheduler": {"replicaCount": 3, "logLevel": 1, "tolerations": [{"key": "system", "operator": "Exists"}]},
        "gpuPartitioner": {
            "knownMigGeometries": [{"models": ["A30"]}],
            "migAgent": {"reportConfigIntervalSeconds": 10, "tolerations": [{"key": "spot", "operator": "Exists"}]},
        },
    }
    found = {each["kind"]: each["spec"] for each in objects(old) if each["kind"] in ("Deployment", "DaemonSet")}
    assert found["Deployment"]["replicas"] == 3
    assert "system" in json.dumps(found["Deployment"]["template"]["spec"]["tolerations"])
    assert "spot" in json.dumps(found["DaemonSet"]["template"]["spec"]["tolerations"])
    told = notes(old).partition("take them out:\n")[2].split()
    assert sorted(told) == [
        "gpuPartitioner.knownMigGeometries",
        "gpuPartitioner.migAgent.reportConfigIntervalSeconds",
        "nvidiaGpuResourceMemoryGB",
        "operator",
        "scheduler.logLevel",
        "shareTelemetry",
    ]
    assert "of the old nos" not in notes({})


def test_every_old_value_that_passes_is_named() -> None:
    """One by one: the schema and the notes have the same."""
    for path, old in of_schema(json.loads(written.SCHEMA.read_text())):
        if old:
            values: Any = {}
            for name in reversed(path.split(".")):
                values = {name: values}
            assert f"take them out:\n  {path}\n" in notes(values) + "\n", path


def notes(values: Mapping[str, Any]) -> str:
    """What Helm says after installing."""
    given = ["--namespace", NAMESPACE, "--dry-run=client", "--output", "json"]
    told: str = json.loads(helm("install", "nos", CHART, *given, values=values))["info"]["notes"]
    return told


def test_who_taints_nodes_is_told_of_those_that_are_there() -> None:
    (command,) = re.findall(r"^kubectl taint .*overwrite$", (DEPLOY.parent / "docs/start/taint.md").read_text(), re.M)
    assert f"\n  {command}\n" in notes({"gpuTaint": {"enabled": True}}) + "\n"
    assert "taint" not in notes({})


def test_roles_have_no_wildcard_and_no_secrets() -> None:
    for values in [*written.RENDERINGS, *OVERLAYS.values()]:
        for each in objects(values):
            for rule in each.get("rules", []) if each["kind"] in ("Role", "ClusterRole") else []:
                assert "*" not in [*rule.get("resources", []), *rule["verbs"], *rule.get("apiGroups", [])]
                assert not {"secrets", "configmaps"} & set(rule.get("resources", []))


def test_a_backend_is_allowed_when_it_is_switched_on() -> None:
    usual = {"nos-scheduler", "nos-agent", "nos-metrics-reviews", "nos-metrics-reader"}
    found = [
        {each["metadata"]["name"] for each in objects(values) if each["kind"] == "ClusterRole"} - usual
        for values in written.RENDERINGS
    ]
    dashboard = {"nos-dashboard", "nos-dashboard-reviews", "nos-record"}
    backends: list[set[str]] = [{"nos-karpenter"}, {"nos-cluster-api"}, {"nos-provisioning-requests"}]
    assert found == [set(), set(), set(), set(), dashboard, *backends]


@pytest.mark.parametrize("values", written.RENDERINGS, ids=range(len(written.RENDERINGS)))
def test_the_controller_takes_its_settings(values: Mapping[str, Any], tmp_path: Path) -> None:
    (config,) = [each for each in objects(values) if each["kind"] == "ConfigMap"]
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    loaded = settings.load(str(tmp_path / "config.yaml"))
    assert loaded.health_address == "0.0.0.0:10257"
    assert loaded.leader_election.namespace == NAMESPACE
    assert (loaded.scaling.provisioning_requests is not None) == ("provisioningRequests" in json.dumps(values))
    assert (loaded.dashboard.address == "0.0.0.0:10258") == ("dashboard" in values)


def test_traces_are_switched_on_as_their_page_says() -> None:
    """Its list is the container's environment; the agent's is beside what the agent needs."""
    page = (DEPLOY.parent / "docs" / "tracing.md").read_text()
    (given,) = [yaml.safe_load(block)["env"] for block in re.findall(r"```yaml\n(env:.*?)```", page, re.DOTALL)]

    def environment(values: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
        (found,) = [each for each in objects(values) if each["kind"] == kind]
        container = found["spec"]["template"]["spec"]["containers"][0]
        told: list[dict[str, Any]] = container.get("env", [])
        return told

    assert len(given) == 4
    assert environment({}, "Deployment") == []
    assert environment({"scheduler": {"env": given}}, "Deployment") == given
    own = environment({}, "DaemonSet")
    assert environment({"gpuPartitioner": {"migAgent": {"env": given}}}, "DaemonSet") == own + given


def test_a_platform_may_choose_user_and_group() -> None:
    """Of what is not privileged, so that it asks for nothing that OpenShift's `restricted-v2` chooses itself."""

    def asked(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        every = [each for each in yaml.safe_load_all(rendered(values)) if each]
        (deployment,) = [each for each in every if each["kind"] == "Deployment"]
        (test,) = [each for each in every if each["kind"] == "Pod"]
        return [deployment["spec"]["template"]["spec"], test["spec"]]

    chosen = {"runAsUser", "runAsGroup", "fsGroup"}
    for spec in asked({"runAsUser": None}):
        for context in (spec["securityContext"], *(each["securityContext"] for each in spec["containers"])):
            assert not chosen & set(context)
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for values, number in (({}, 65532), ({"runAsUser": 1000680000}, 1000680000)):
        for spec in asked(values):
            assert {number} == {spec["securityContext"][name] for name in chosen & set(spec["securityContext"])}


def test_each_priority_class_has_its_quota() -> None:
    def counted(values: Mapping[str, Any]) -> dict[str, Any]:
        quotas = [each for each in objects(values) if each["kind"] == "ResourceQuota"]
        scopes = {each["metadata"]["name"]: each["spec"]["scopeSelector"]["matchExpressions"] for each in quotas}
        return {name: scope["values"] for name, (scope,) in scopes.items()}

    def classes(controller: str, agent: str) -> dict[str, Any]:
        return {
            "scheduler": {"priorityClassName": controller},
            "gpuPartitioner": {"migAgent": {"priorityClassName": agent}},
        }

    assert counted({}) == {"nos-scheduler": ["system-cluster-critical"], "nos-agent": ["system-node-critical"]}
    assert counted(classes("mine", "mine")) == {"nos-scheduler": ["mine"], "nos-agent": ["mine"]}
    assert counted(classes("", "")) == {}
    assert counted({"gpuPartitioner": {"enabled": False}}) == {"nos-scheduler": ["system-cluster-critical"]}


def test_new_settings_make_new_pods() -> None:
    def annotation(values: Mapping[str, Any]) -> str:
        (found,) = [each for each in objects(values) if each["kind"] == "Deployment"]
        told: str = found["spec"]["template"]["metadata"]["annotations"]["nos.nebuly.com/config"]
        return told

    assert annotation({}) == annotation({"crds": {"install": False}})
    assert annotation({}) != annotation({"scheduler": {"config": {"score": "fgd"}}})


def test_the_package_has_everything(tmp_path: Path) -> None:
    """Its links are files in it; and it is a version of nos."""
    helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    assert package.name == f"nos-{nos.__version__}.tgz"
    values = OVERLAYS["overlays/monitoring"]
    assert helm("template", "nos", package, "--namespace", NAMESPACE, values=values) == rendered(values)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == nos.__version__
