"""`make bench`: what the service costs, each figure as a ratio within one run."""
