"""Shared ranks beside private ranks in one adapter."""
