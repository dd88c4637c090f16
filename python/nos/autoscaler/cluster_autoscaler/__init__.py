"""What Cluster Autoscaler asks of nos over gRPC: which node groups are to grow, and how large they are.

Only `server` and what it imports need grpcio, which comes with the extra `cluster-autoscaler`.
"""

NAME = "cluster-autoscaler"  # of who makes the nodes, and of the backend of groups that only the settings name
