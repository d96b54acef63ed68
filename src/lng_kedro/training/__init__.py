"""SFT and GRPO on TRL (paper, section III.C)."""
