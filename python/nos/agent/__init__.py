"""One per GPU node: cuts its GPUs as the controller plans, hands them to the kubelet, reports what is there."""
