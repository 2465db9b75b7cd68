"""What is in a model file, and the same model in fewer bytes."""
