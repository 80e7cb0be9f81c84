"""Working on policies without a cluster: check, test, explain, compare, write. Decides with the policy core itself."""
