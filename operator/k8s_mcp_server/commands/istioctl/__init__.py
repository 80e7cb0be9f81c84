"""istioctl: which subcommands, flags and operands are offered, and what each of them may ask for.

Here the catalogue is part of the boundary: what istioctl says to a proxy or to istiod goes through a port-forward, and
a part of that nobody in between can read. So it is an allow list; a word that is not in it is refused, and what runs
is not the client's text but the words that were understood, written anew.
"""
