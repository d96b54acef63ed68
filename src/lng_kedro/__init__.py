"""Structured inspection reports from photos of LNG-tank manufacturing (SFT + GRPO on open LVLMs)."""

__version__ = "0.1.0"
