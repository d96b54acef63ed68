"""Wiring of baselines: one template, an instance for each detector and target."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.baselines import nodes

DETECTORS = ("yolo11m", "yolo12m", "rtdetr")
TARGETS = ("label", "quality")
SHARED = {"sft_samples", "grpo_samples", "test_samples", "photos", "taxonomy"}


def create_pipeline() -> Pipeline:
    """Training, predictions and metrics of every detector."""
    return sum((_detector(name) for name in DETECTORS), start=Pipeline([]))


def _detector(name: str) -> Pipeline:
    trained = sum((_target(name, target) for target in TARGETS), start=Pipeline([]))
    parts = {"label", "quality", "label_detector", "quality_detector"}
    score = Node(
        nodes.score,
        inputs={part: part for part in (*parts, "photos", "taxonomy")} | {"samples": "test_samples"},
        outputs=["metrics", "tracked"],
        name="score",
        tags="score",
    )
    inputs = {name: name for name in ("test_samples", "photos", "taxonomy")}
    inputs |= {target: f"predictions_detector_{name}_{target}" for target in TARGETS}
    inputs |= {f"{target}_detector": f"detector_{name}_{target}" for target in TARGETS}
    outputs = {"metrics": f"metrics_detector_{name}", "tracked": f"tracked_{name}"}
    return trained + Pipeline([score], namespace=name, inputs=inputs, outputs=outputs)


def _target(name: str, target: str) -> Pipeline:
    template = Pipeline(
        [
            Node(
                nodes.train,
                inputs=[
                    *("sft_samples", "grpo_samples", "test_samples", "photos", "taxonomy"),
                    *("params:baselines", "params:detector", "params:target"),
                ],
                outputs=["detector", "history"],
                name="train",
                tags="train",
            ),
            Node(
                nodes.predict,
                inputs=["test_samples", "photos", "taxonomy", "params:baselines", "detector"],
                outputs="predictions",
                name="predict",
                tags="predict",
            ),
        ]
    )
    parameters = {"detector": f"detectors.{name}", "target": f"targets.{target}"}
    outputs = {
        "detector": f"detector_{name}_{target}",
        "history": f"history_detector_{name}_{target}",
        "predictions": f"predictions_detector_{name}_{target}",
    }
    return Pipeline(
        template,
        namespace=f"{name}.{target}",
        inputs={shared: shared for shared in SHARED},
        parameters={"params:baselines": "params:baselines"}
        | {f"params:{own}": f"params:{given}" for own, given in parameters.items()},
        outputs=outputs,
    )
