"""Wiring of inspection."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.inspection import nodes


def create_pipeline() -> Pipeline:
    """new_photos, adapter_in_use -> reports, and what is made of them."""
    return Pipeline(
        [
            Node(
                nodes.inspect,
                inputs=[
                    "new_photos",
                    "report_journal",
                    "adapter_in_use",
                    "params:taxonomy",
                    "params:vlm",
                    "params:inspection",
                ],
                outputs=["reports", "reports_taxonomy", "reports_summary"],
                name="inspect",
                tags="inspect",
            ),
            Node(
                nodes.tables,
                inputs=["reports", "reports_taxonomy"],
                outputs=["findings", "report_errors", "reports_coco"],
                name="report_tables",
                tags="report",
            ),
            Node(
                nodes.review_page,
                inputs=["new_photos", "reports", "reports_taxonomy", "params:inspection"],
                outputs="review_page",
                name="review_page",
                tags="report",
            ),
        ]
    )
