"""Nodes on demand: more where Pods wait that nothing else helps, fewer where they are not needed."""
