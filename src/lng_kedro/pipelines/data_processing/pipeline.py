"""Wiring of data_processing."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.data_processing import nodes

TABLES = ["manifest@whole", "split", "objects", "label_quarantine", "photo_quarantine"]


def create_pipeline() -> Pipeline:
    """Raw and corrected photos -> manifest -> split -> photos and boxes -> chat samples, and a page.

    Nodes that need few columns of the manifest read no others: it may have millions of rows.
    """
    return Pipeline(
        [
            Node(
                nodes.read_labels,
                inputs=[
                    "raw_annotations",
                    "params:taxonomy",
                    "label_journal",
                    "params:data_processing",
                    "reviewed_annotations",
                ],
                outputs=["manifest@whole", "label_quarantine", "manifest_parameters"],
                name="read_labels",
                tags="ingest",
            ),
            Node(
                nodes.taxonomy_of_data,
                inputs=[
                    "params:taxonomy",
                    "manifest@whole",
                    "label_quarantine",
                    "params:data_processing",
                    "reviewed_annotations",
                ],
                outputs=["taxonomy", "taxonomy_parameters"],
                name="taxonomy_of_data",
                tags="ingest",
            ),
            Node(
                nodes.draw_photos,
                inputs=[
                    "manifest@draw",
                    "label_quarantine",
                    "taxonomy",
                    "manifest_parameters",
                    "taxonomy_parameters",
                    "reviewed_annotations",
                    "params:data_processing",
                ],
                outputs=["draw", "draw_parameters"],
                name="draw_photos",
                tags="split",
            ),
            Node(
                nodes.process_photos,
                inputs=[
                    "raw_annotations",
                    "reviewed_annotations",
                    "manifest@photos",
                    "draw",
                    "draw_parameters",
                    "taxonomy",
                    "photo_journal",
                    "params:data_processing",
                ],
                outputs=["photos", "split", "photo_quarantine", "split_parameters"],
                name="process_photos",
                tags="images",
            ),
            Node(
                nodes.split_counts,
                inputs=["manifest@whole", "draw", "split", "taxonomy", "params:data_processing"],
                outputs="split_counts",
                name="split_counts",
                tags="images",
            ),
            Node(
                nodes.corner_boxes,
                inputs=[
                    "manifest@whole",
                    "split",
                    "split_parameters",
                    "reviewed_annotations",
                    "params:data_processing",
                ],
                outputs="objects",
                name="corner_boxes",
                tags="samples",
            ),
            Node(
                nodes.chat_samples,
                inputs=["split", "objects", "photos", "taxonomy"],
                outputs=["sft_samples", "grpo_samples", "test_samples"],
                name="chat_samples",
                tags="samples",
            ),
            Node(
                nodes.truth_of_test,
                inputs=["test_samples", "taxonomy"],
                outputs="coco_truth",
                name="truth_of_test",
                tags="samples",
            ),
            Node(
                nodes.data_plots,
                inputs=[*TABLES, "taxonomy"],
                outputs=["quarantine_reasons", "plot_box_sizes"],
                name="data_plots",
                tags="report",
            ),
            Node(
                nodes.data_page,
                inputs=[
                    *TABLES,
                    "photos",
                    "taxonomy",
                    "split_counts",
                    "split_parameters",
                    "reviewed_annotations",
                    "params:data_processing",
                    "params:data_page",
                ],
                outputs="data_page",
                name="data_page",
                tags="report",
            ),
        ]
    )
