"""The same model in fewer bytes."""
