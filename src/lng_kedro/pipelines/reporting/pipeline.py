"""Wiring of reporting."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.reporting import nodes

SPLIT = ["test_samples", "photos", "taxonomy"]


def create_pipeline(after: Sequence[str] = ()) -> Pipeline:
    """Tables, plots, comparisons and page.

    Args:
        after: metrics of the same run, which have to be there first.
    """
    stored = ["all_metrics", *SPLIT, "params:vlm", "params:reporting"]
    page = {name: name for name in ("all_metrics", "all_predictions", "all_histories", *SPLIT)}
    page |= {name: name for name in ("table_2", "table_3", "comparisons")}
    page |= {"vlm_params": "params:vlm", "params": "params:reporting"}
    return Pipeline(
        [
            Node(
                nodes.tables,
                inputs=[*stored, "params:paper", *after],
                outputs=["table_2", "table_3"],
                name="tables",
            ),
            Node(
                nodes.texts,
                inputs=["table_2", "table_3", "params:vlm"],
                outputs=["table_2_markdown", "table_2_latex", "table_3_markdown", "table_3_latex"],
                name="texts",
            ),
            Node(
                nodes.comparisons,
                inputs=["all_predictions", *SPLIT, "params:reporting", *after],
                outputs="comparisons",
                name="comparisons",
            ),
            Node(
                nodes.plots, inputs=[*stored, *after], outputs=["plot_labels", "plot_confusion"], name="plots"
            ),
            Node(nodes.page, inputs=page, outputs="report_page", name="page"),
        ],
        tags="report",
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
