"""The project's pipelines by name."""

from kedro.pipeline import Pipeline

from lng_kedro.pipelines import (
    base_model,
    baselines,
    data_processing,
    evaluation,
    grpo_training,
    sft_training,
)


def register_pipelines() -> dict[str, Pipeline]:
    """`__default__` is the whole way from raw photos to the tables."""
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "sft_training": sft_training.create_pipeline(),
        "grpo_training": grpo_training.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
    }
    return {
        "__default__": sum(pipelines.values(), start=Pipeline([])),
        **pipelines,
        "ablation": grpo_training.create_ablation() + evaluation.create_ablation(),
        "study": pipelines["data_processing"]
        + pipelines["sft_training"]
        + pipelines["grpo_training"]
        + grpo_training.create_ablation()
        + evaluation.create_study(),
        "study_table": evaluation.create_study_table(),
        "baselines": baselines.create_pipeline(),
        "base_model": base_model.create_pipeline(),
    }
