"""Wiring of evaluation: one template, an instance for each stage."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.evaluation import nodes

SHARED = {"test_samples", "photos", "taxonomy"}
PARAMETERS = {"params:vlm", "params:evaluation"}
OUTPUTS = ("predictions", "metrics", "tracked", "coco_results")


def create_pipeline() -> Pipeline:
    """Base, SFT and SFT+GRPO."""
    return _stage("base", None) + _stage("sft", "sft_adapter") + _stage("sft_grpo", "grpo_adapter")


def create_ablation() -> Pipeline:
    """GRPO without SFT."""
    return _stage("grpo", "grpo_only_adapter")


def _stage(name: str, adapter: str | None) -> Pipeline:
    given = ["test_samples", "photos", "taxonomy"]
    asked = [*given, "params:vlm", "params:evaluation", "params:stage"]
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
                inputs=["predictions", *given, "params:evaluation", "params:stage"],
                outputs=["metrics", "tracked", "coco_results"],
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
        outputs={part: f"{part}_{name}" for part in OUTPUTS},
    )
