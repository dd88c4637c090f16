"""What Prometheus reads at /metrics: what there is to measure, one file per subject."""
