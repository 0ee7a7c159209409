"""The base model that Rescind ships, and the script that makes it."""
