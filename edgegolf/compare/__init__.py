"""Two models side by side: outputs, layers, and where the difference arises."""
