"""`policy explain`: the requests that a command makes, and how each is decided, by running it without a cluster."""
