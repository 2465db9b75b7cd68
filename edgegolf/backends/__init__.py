"""From a `Graph` to the files that devices run."""
