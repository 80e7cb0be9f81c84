"""Clients that an OpenID Connect issuer vouches for: its keys, its tokens, and the names they give."""
