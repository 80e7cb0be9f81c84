"""Port-forwards whose content is bounded: what a command says through one is read before it is passed on."""
