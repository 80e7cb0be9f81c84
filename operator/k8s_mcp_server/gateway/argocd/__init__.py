"""Argo CD behind the gateway: gRPC-web calls of the argocd CLI, decided one by one."""
