"""The pipelines: `params.py` says what can be set, `nodes.py` what is done, `pipeline.py` only wires."""
