"""Answering questions: the assistant, evaluation and suppression."""
