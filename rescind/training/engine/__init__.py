"""The training loop: batches, gradients, checkpoints, privacy and processes."""
