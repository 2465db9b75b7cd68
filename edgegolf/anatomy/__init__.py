"""Where each byte of a model file goes."""
