"""The project's pipelines by name."""

from kedro.pipeline import Pipeline

from lng_kedro.pipelines import (
    base_model,
    baselines,
    data_processing,
    evaluation,
    export,
    grpo_training,
    inspection,
    reporting,
    reviewed,
    sft_training,
)


def register_pipelines() -> dict[str, Pipeline]:
    """`__default__` is the whole way from raw photos to the tables."""
    evaluated = evaluation.create_pipeline()
    ablated = evaluation.create_ablation()
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "sft_training": sft_training.create_pipeline(),
        "grpo_training": grpo_training.create_pipeline(),
        "evaluation": evaluated + _reported(evaluated),
    }
    ablation = grpo_training.create_ablation()
    detectors = baselines.create_pipeline()
    return {
        "__default__": sum(pipelines.values(), start=Pipeline([])),
        **pipelines,
        "ablation": ablation + ablated + _reported(ablated),
        "baselines": detectors + _reported(detectors),
        "export": export.create_pipeline(),
        "inspection": inspection.create_pipeline(),
        "reporting": reporting.create_pipeline(),
        "reviewed": reviewed.create_pipeline(),
        "study": pipelines["data_processing"]
        + pipelines["sft_training"]
        + pipelines["grpo_training"]
        + ablation
        + evaluated
        + ablated,
        "study_table": reporting.create_study_table(),
        "base_model": base_model.create_pipeline(),
    }


def _reported(evaluated: Pipeline) -> Pipeline:
    """Tables and page, after the metrics of what was evaluated."""
    return reporting.create_pipeline(after=sorted(o for o in evaluated.outputs() if o.startswith("metrics_")))
