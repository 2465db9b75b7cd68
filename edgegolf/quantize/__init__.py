"""From a float `Graph` and samples to a quantized one."""
