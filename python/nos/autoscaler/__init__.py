"""What makes and takes away nodes on nos's behalf: one file per backend, all behind `nos.autoscaler.backend`."""
