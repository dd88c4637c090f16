"""What requests are counted under."""

import pytest

from nos.kube.resource import resource_of


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/nodes", "nodes"),
        ("/api/v1/nodes/n1?timeout=4s", "nodes"),
        ("/api/v1/namespaces/team/pods/train/binding?timeout=4s", "pods/binding"),
        ("/api/v1/namespaces/team/pods/train/status", "pods/status"),
        ("/api/v1/namespaces/team/pods", "pods"),
        ("/api/v1/namespaces/team", "namespaces"),
        ("/apis/nos.nebuly.com/v1alpha1/gpunodes/n1/status", "gpunodes/status"),
        ("/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler", "leases"),
        ("/readyz", "other"),
        ("/apis/apps", "other"),
    ],
)
def test_no_name_is_in_it(path: str, resource: str) -> None:
    assert resource_of(path) == resource
