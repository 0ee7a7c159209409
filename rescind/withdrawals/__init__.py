"""What a withdrawal makes of a model, its evidence and its attestations. No torch."""
