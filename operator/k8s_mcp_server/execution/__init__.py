"""Runs command pipelines: the only package that starts processes, and the one that confines them."""
