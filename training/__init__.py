"""Local LoRA training, routing and evaluation. Importing it imports torch."""
