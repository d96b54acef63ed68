"""Vision-language models: load, adapt, generate; one small module a family."""
