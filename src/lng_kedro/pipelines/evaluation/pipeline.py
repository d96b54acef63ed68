"""Wiring of evaluation: one template, an instance for each stage."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.evaluation import nodes

SHARED = {"test_samples", "photos", "taxonomy"}
PARAMETERS = {"params:vlm", "params:evaluation"}


def create_pipeline() -> Pipeline:
    """Base, SFT and SFT+GRPO, their tables and the report page."""
    return (
        _stage("base", None)
        + _stage("sft", "sft_adapter")
        + _stage("sft_grpo", "grpo_adapter")
        + Pipeline([_tables("metrics_base", "metrics_sft", "metrics_sft_grpo"), _page()])
    )


def create_ablation() -> Pipeline:
    """GRPO without SFT, and the tables that now hold it."""
    return _stage("grpo", "grpo_only_adapter") + Pipeline([_tables("metrics_grpo")])


def create_study() -> Pipeline:
    """Predictions and metrics of every stage, without tables: one run of a study over seeds."""
    return (
        _stage("base", None)
        + _stage("sft", "sft_adapter")
        + _stage("grpo", "grpo_only_adapter")
        + _stage("sft_grpo", "grpo_adapter")
    )


def create_study_table() -> Pipeline:
    """Mean and spread over the runs of a study."""
    return Pipeline(
        [
            Node(
                nodes.study,
                inputs=["study_metrics", "params:taxonomy", "params:vlm"],
                outputs="study_table",
                name="study_table",
                tags="report",
            )
        ]
    )


def _stage(name: str, adapter: str | None) -> Pipeline:
    asked = ["test_samples", "photos", "taxonomy", "params:vlm", "params:evaluation", "params:stage"]
    template = Pipeline(
        [
            Node(
                nodes.predict,
                inputs=[*asked, "adapter"] if adapter else asked,
                outputs="predictions",
                name="predict",
                tags="predict",
            ),
            Node(
                nodes.score,
                inputs=["predictions", "test_samples", "taxonomy"],
                outputs=["metrics", "tracked"],
                name="score",
                tags="score",
            ),
        ]
    )
    shared = {name: name for name in SHARED}
    return Pipeline(
        template,
        namespace=name,
        inputs=shared | ({"adapter": adapter} if adapter else {}),
        parameters={p: p for p in PARAMETERS} | {"params:stage": f"params:stages.{name}"},
        outputs={part: f"{part}_{name}" for part in ("predictions", "metrics", "tracked")},
    )


def _tables(*fresh: str) -> Node:
    return Node(
        nodes.tables,
        inputs=["all_metrics", "taxonomy", "params:vlm", *fresh],
        outputs=["table_2", "table_3"],
        name="tables",
        tags="report",
    )


def _page() -> Node:
    named = ["taxonomy", "table_2", "table_3", "predictions_base", "predictions_sft"]
    named += ["predictions_sft_grpo", "history_sft", "history_grpo"]
    inputs = {name: name for name in named}
    inputs |= {"samples": "test_samples", "vlm_params": "params:vlm"}
    return Node(nodes.page, inputs=inputs, outputs="report_page", name="page", tags="report")
