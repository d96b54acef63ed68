"""Placeholder until schema-true decoding is merged."""

from typing import Any

Constraint = Any


def compile_constraint(vlm: Any, dialogue: Any, max_new_tokens: int) -> Constraint:
    return None
