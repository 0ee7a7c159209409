"""How questions, answers and documents become tokens, and tokens become text again."""
