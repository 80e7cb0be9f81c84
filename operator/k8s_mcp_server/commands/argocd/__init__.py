"""argocd's command line: what it can do here, early refusals that teach, and the instance that a command means."""
