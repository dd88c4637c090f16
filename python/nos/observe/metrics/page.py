"""docs/metrics.md, made from the code.

python -m nos.observe.metrics.page docs/metrics.md
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.book import Entry
from nos.observe.metrics.controller import ControllerMetrics

_HEAD = """# Metrics

This page is made from the code: `python -m nos.observe.metrics.page docs/metrics.md`.

The controller and each agent answer `/metrics`, in the text format or as OpenMetrics, whichever is asked for. Units are
in the names; a histogram has `_bucket`, `_sum` and `_count`. No label holds the name of a Pod.
"exemplars": where [traces](tracing.md) are on, OpenMetrics names with each bucket the trace of its latest value.
What [Prometheus should tell you](runbooks.md) is in `deploy/monitoring/rules.yaml`, dashboards for Grafana are in
`deploy/dashboards`. Beside these there is what the process takes (`process_cpu_seconds_total`,
`process_resident_memory_bytes`, ...).

## Who may read them

| installed by | who may read |
|---|---|
| the chart, Kustomize | over TLS, who has a token (`TokenReview`) and may `get` `/metrics` (`SubjectAccessReview`) |
| a command line without `--metrics-address` | whoever reaches the health address: 127.0.0.1 unless told otherwise |

Prometheus has that right already where its own chart, kube-prometheus or OpenShift installed it. Otherwise:

```
kubectl create clusterrolebinding nos-metrics --clusterrole nos-metrics-reader --serviceaccount monitoring:prometheus
```

With the Prometheus Operator: `--set monitoring.serviceMonitors=true`. Without it, of the same Pods:

```yaml
scrape_configs:
  - job_name: nos
    scheme: https
    authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
    tls_config: {insecure_skip_verify: true}
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], regex: nos, action: keep}
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}
```

By hand, each of the two in a shell of its own (no token: 401; one without the right: 403):

```
kubectl -n nebuly-nos port-forward deployment/nos-scheduler 10259
curl -k -H "Authorization: Bearer $(kubectl -n monitoring create token prometheus)" https://127.0.0.1:10259/metrics
```

What the API server said of a token holds for a minute. Where it cannot be asked, nobody is let in (503). Kubelets ask
for health without a token, on another port, where there are no metrics.

The certificate is made at each start, and signed by nobody: Prometheus does not know to whom it gives its token, which
is why `insecure_skip_verify` is there. `--set metrics.tlsSecretName=NAME` names a Secret, as cert-manager makes it, in
the namespaces of both; it is read anew when it changes, and the ServiceMonitors then verify it against its `ca.crt`:

```yaml
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: nos-metrics, namespace: nebuly-nos}
spec:
  secretName: nos-metrics
  dnsNames: [nos-scheduler-metrics.nebuly-nos.svc, nos-agent-metrics.nebuly-nos.svc]
  issuerRef: {kind: ClusterIssuer, name: YOURS}
```

`--set metrics.secure=false`: no TLS and no token, at the port of the health, as where a mesh has both.
"""


def page() -> str:
    """The whole page."""
    parts = (
        _HEAD,
        "## The controller\n\nOne that stands by knows no cluster, and says so: `nos_lease_held` is 0.\n",
        _table(ControllerMetrics().book.entries),
        "## The agent\n\n`gpu` is the GPU's index as NVML counts, which is its slot in the GPUNode.\n",
        _table(AgentMetrics().book.entries),
    )
    return "\n".join(parts)


def _table(entries: Iterable[Entry]) -> str:
    lines = ["| metric | kind | meaning |", "|---|---|---|"]
    for entry in entries:
        labels = "{" + ", ".join(entry.labels) + "}" if entry.labels else ""
        kind = f"{entry.kind}, exemplars" if entry.exemplars else entry.kind
        lines.append(f"| `{entry.name}{labels}` | {kind} | {entry.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
