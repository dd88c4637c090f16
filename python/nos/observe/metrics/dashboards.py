"""deploy/dashboards for Grafana, made from a few lines per panel.

python -m nos.observe.metrics.dashboards deploy/dashboards
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24  # of a panel, of the page


class Panel(NamedTuple):
    """unit: as Grafana calls it. queries: PromQL, and how a line is called."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]


class Dashboard(NamedTuple):
    """variables: what can be chosen, by name, and the query for its values."""

    name: str
    title: str
    panels: Sequence[Panel]
    variables: Sequence[tuple[str, str]] = ()


def _quantiles(metric: str, by: str = "", *quantiles: float) -> list[tuple[str, str]]:
    le = f"le, {by}" if by else "le"
    suffix = f" {{{{{by}}}}}" if by else ""
    return [
        (
            f"histogram_quantile({quantile}, sum by ({le}) (rate({metric}_bucket[$__rate_interval])))",
            f"p{quantile * 100:g}{suffix}",
        )
        for quantile in quantiles or (0.5, 0.99)
    ]


def _per_pod(metric: str) -> str:
    """Of each Pod that was bound within the hour."""
    return f'sum(increase({metric}[1h])) / sum(increase(nos_bindings_total{{result="bound"}}[1h]))'


CLUSTER = Dashboard(
    "cluster",
    "nos: cluster",
    (
        Panel(
            "GPUs",
            "short",
            (
                ("sum(nos_gpus)", "all"),
                ("sum(nos_gpus_allocated)", "allocated"),
                ("sum(nos_gpus_free)", "free"),
                ("sum(nos_gpus_unavailable)", "unavailable"),
            ),
        ),
        Panel(
            "Allocated, by model",
            "percentunit",
            (("sum by (model) (nos_gpus_allocated) / sum by (model) (nos_gpus)", "{{model}}"),),
        ),
        Panel("Stranded GPUs, by cause", "short", (("sum by (cause) (nos_gpus_stranded)", "{{cause}}"),)),
        Panel("Fragmentation", "percentunit", (("nos_gpu_fragmentation_ratio", "of the free GPUs"),)),
        Panel("Pods that wait, by reason", "short", (("sum by (reason) (nos_queue_reason_pods)", "{{reason}}"),)),
        Panel("Longest wait", "s", (("max(nos_queue_oldest_seconds)", "since it was seen"),)),
        Panel(
            "Per Pod served",
            "short",
            (
                (_per_pod("nos_recuts_total"), "recuts"),
                (_per_pod('nos_evictions_total{cause=~"repack|drain"}'), "moves"),
                (_per_pod('nos_evictions_total{cause=~"priority|reclaim|gang"}'), "evictions"),
            ),
        ),
        Panel(
            "Nodes with the most free GPUs",
            "short",
            (("topk(10, sum by (node) (nos_node_gpus) - sum by (node) (nos_node_gpus_allocated))", "{{node}}"),),
        ),
        Panel("Nodes", "short", (("sum(nos_nodes)", "nodes"),)),
    ),
)

NODE = Dashboard(
    "gpu-node",
    "nos: GPU node",
    (
        Panel(
            "GPUs of the node",
            "short",
            (
                ('nos_node_gpus{node=~"$node"}', "{{node}}"),
                ('nos_node_gpus_allocated{node=~"$node"}', "{{node}} allocated"),
            ),
        ),
        Panel(
            "GPU memory in use",
            "percentunit",
            (
                (
                    'nos_agent_gpu_memory_used_bytes{instance=~"$agent"} / nos_agent_gpu_memory_bytes',
                    "GPU {{gpu}}",
                ),
            ),
        ),
        Panel("GPUs busy", "percentunit", (('nos_agent_gpu_utilization_ratio{instance=~"$agent"}', "GPU {{gpu}}"),)),
        Panel(
            "Memory of MIG instances in use",
            "percentunit",
            (
                (
                    'nos_agent_instance_memory_used_bytes{instance=~"$agent"} / nos_agent_instance_memory_bytes',
                    "GPU {{gpu}} {{profile}} at {{start}}",
                ),
            ),
        ),
        Panel(
            "MIG instances busy (Hopper and later)",
            "percentunit",
            (
                (
                    'nos_agent_instance_utilization_ratio{instance=~"$agent"}',
                    "GPU {{gpu}} {{profile}} at {{start}}",
                ),
            ),
        ),
        Panel("MPS clients", "short", (('nos_agent_gpu_mps_clients{instance=~"$agent"}', "GPU {{gpu}}"),)),
        Panel(
            "What the driver did",
            "ops",
            (
                (
                    "sum by (operation, result) (rate(nos_agent_operation_seconds_count"
                    '{instance=~"$agent"}[$__rate_interval]))',
                    "{{operation}} {{result}}",
                ),
            ),
        ),
        Panel("How long it took", "s", _quantiles("nos_agent_operation_seconds", "operation", 0.99)),
        Panel(
            "Trouble",
            "short",
            (
                ('nos_agent_gpu_unhealthy{instance=~"$agent"}', "GPU {{gpu}} is unhealthy"),
                ('nos_agent_gpu_not_as_wanted{instance=~"$agent"}', "GPU {{gpu}} is not as wanted"),
                ('increase(nos_agent_xids_total{instance=~"$agent"}[1h])', "GPU {{gpu}} XID {{xid}}"),
            ),
        ),
    ),
    (("node", "label_values(nos_node_gpus, node)"), ("agent", "label_values(nos_agent_gpu_info, instance)")),
)

QUOTAS = Dashboard(
    "quotas",
    "nos: quotas",
    (
        Panel("Used", "short", (('nos_quota_used{resource="$resource"}', "{{quota}}"),)),
        Panel(
            "Used of min",
            "percentunit",
            (('nos_quota_used{resource="$resource"} / (nos_quota_min > 0)', "{{quota}}"),),
        ),
        Panel(
            "Used of max",
            "percentunit",
            (('nos_quota_used{resource="$resource"} / (nos_quota_max > 0)', "{{quota}}"),),
        ),
        Panel("Borrowed", "short", (('nos_quota_borrowed{resource="$resource"}', "{{quota}}"),)),
        Panel(
            "Pods that went so that it got its own back, in an hour",
            "short",
            (("sum by (quota) (increase(nos_quota_reclaimed_pods_total[1h]))", "{{quota}}"),),
        ),
        Panel("Pods that wait", "short", (('sum by (quota) (nos_queue_pods{state="pending"})', "{{quota}}"),)),
    ),
    (("resource", "label_values(nos_quota_used, resource)"),),
)

SCHEDULER = Dashboard(
    "scheduler",
    "nos: scheduler health",
    (
        Panel("Who leads", "short", (("nos_lease_held", "{{instance}}"),)),
        Panel("Lease", "s", (("max(nos_lease_remaining_seconds)", "remaining"),)),
        Panel("Cycles", "s", _quantiles("nos_scheduling_cycle_seconds")),
        Panel(
            "Attempts",
            "ops",
            (
                (
                    "sum by (result, reason) (rate(nos_scheduling_attempts_total[$__rate_interval]))",
                    "{{result}} {{reason}}",
                ),
            ),
        ),
        Panel("Bindings", "ops", (("sum by (result) (rate(nos_bindings_total[$__rate_interval]))", "{{result}}"),)),
        Panel("From first sight to bound", "s", _quantiles("nos_pod_scheduling_seconds", "", 0.5, 0.95, 0.99)),
        Panel("The same, by reason", "s", _quantiles("nos_pod_scheduling_seconds", "reason", 0.95)),
        Panel("Queue", "short", (("sum by (priority, state) (nos_queue_pods)", "{{priority}} {{state}}"),)),
        Panel(
            "Answers of the API server",
            "s",
            (
                (
                    "histogram_quantile(0.99, sum by (le, verb, resource) "
                    "(rate(nos_api_request_seconds_bucket[$__rate_interval])))",
                    "{{verb}} {{resource}}",
                ),
            ),
        ),
        Panel(
            "Requests that failed",
            "ops",
            (
                (
                    'sum by (verb, resource, code) (rate(nos_api_requests_total{code!~"2.."}[$__rate_interval]))',
                    "{{verb}} {{resource}} {{code}}",
                ),
            ),
        ),
        Panel(
            "Events", "ops", (("sum by (resource) (rate(nos_watch_events_total[$__rate_interval]))", "{{resource}}"),)
        ),
        Panel("Watch lag", "s", _quantiles("nos_watch_lag_seconds")),
        Panel(
            "Watches",
            "short",
            (
                ("max by (resource) (nos_watch_silence_seconds)", "{{resource}} silent (s)"),
                ("sum by (resource) (increase(nos_watch_lists_total[1h]))", "{{resource}} lists"),
            ),
        ),
        Panel(
            "What went wrong",
            "short",
            (
                ("sum(increase(nos_evictions_refused_total[1h]))", "evictions that a budget refused"),
                ("sum by (reason) (increase(nos_kubelet_rejections_total[1h]))", "kubelet: {{reason}}"),
                ('sum(increase(nos_recut_pods_total{result="failed"}[1h]))', "recuts that failed"),
                ("sum(increase(nos_events_lost_total[1h]))", "Events that were lost"),
            ),
        ),
        Panel(
            "CPU",
            "short",
            (("rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) nos_build_info", "{{instance}}"),),
        ),
        Panel("Memory", "bytes", (("process_resident_memory_bytes and on (instance) nos_build_info", "{{instance}}"),)),
    ),
)

SCALING = Dashboard(
    "scaling",
    "nos: scaling",
    (
        Panel("Nodes", "short", (("sum by (group, state) (nos_scaling_nodes)", "{{group}} {{state}}"),)),
        Panel("Cost per hour", "currencyUSD", (("sum by (group) (nos_scaling_cost_dollars_per_hour)", "{{group}}"),)),
        Panel("Groups", "short", (("sum by (state) (nos_scaling_groups)", "{{state}}"),)),
        Panel(
            "Orders in an hour",
            "short",
            (("sum by (group, result) (increase(nos_scaling_orders_total[1h]))", "{{group}} {{result}}"),),
        ),
        Panel(
            "Failures in an hour",
            "short",
            (("sum by (group) (increase(nos_scaling_failures_total[1h]))", "{{group}}"),),
        ),
        Panel("From order to ready", "s", _quantiles("nos_scaling_node_ready_seconds")),
        Panel(
            "Nodes taken away in an hour", "short", (("sum(increase(nos_scaling_removed_nodes_total[1h]))", "nodes"),)
        ),
        Panel("Until a removal pays", "s", _quantiles("nos_scaling_payback_seconds")),
    ),
)

DASHBOARDS = (CLUSTER, NODE, QUOTAS, SCHEDULER, SCALING)


def text(dashboard: Dashboard) -> str:
    """As Grafana imports it."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables: list[dict[str, Any]] = [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
    for name, query in dashboard.variables:
        variables.append({"name": name, "type": "query", "datasource": source, "query": query, "refresh": 2})
    per_row = _COLUMNS // _WIDTH
    panels = [
        {
            "id": number + 1,
            "title": panel.title,
            "type": "timeseries",
            "datasource": source,
            "gridPos": {
                "x": number % per_row * _WIDTH,
                "y": number // per_row * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend}
                for index, (expression, legend) in enumerate(panel.queries)
            ],
        }
        for number, panel in enumerate(dashboard.panels)
    ]
    made = {
        "uid": f"nos-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["nos"],
        "schemaVersion": 41,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }
    return json.dumps(made, indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (Path(sys.argv[1]) / f"{each.name}.json").write_text(text(each))
