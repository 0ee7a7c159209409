"""Base models, LoRA models, their loading, export and digest."""
