"""Makes the demo's base model: a tiny Qwen2.5-VL pretrained on generic scenes only."""
