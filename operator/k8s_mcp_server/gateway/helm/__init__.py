"""Helm's releases: Secrets that policies give under the virtual group ``helm.sh``, record by record."""
