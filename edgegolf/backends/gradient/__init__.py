"""C that computes the gradients of a net for a batch of images, one image in each SIMD lane."""
