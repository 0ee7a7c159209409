"""Exports of a served model: a peft folder, a merged model, a GGUF adapter."""
