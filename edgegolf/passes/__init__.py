"""From a `Graph` to one that computes the same."""
