"""Memory of several processes that hold one base model."""
