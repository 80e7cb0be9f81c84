"""Answers wider than the policy, cut to it before the command sees a byte; what is not understood is not passed on."""
