"""`make demo`: a real cluster, the manifests, the service under its own ServiceAccount, and a guided tour."""
