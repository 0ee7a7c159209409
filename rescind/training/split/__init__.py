"""Shared ranks beside private ranks in one adapter.

Research: no daemon uses this yet.
"""
