"""Reviews that a client asks about itself: the API server would answer them for us, so they are answered here."""
