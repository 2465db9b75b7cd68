"""Raspberry Pis without a board: their userland and runtimes under QEMU, instructions counted."""
