"""A folder of results: whatever is there."""

from typing import Any

from kedro_datasets.partitions import PartitionedDataset


class StoredResultsDataset(PartitionedDataset):
    """A partitioned dataset that may be empty: tables and pages are built from whatever runs exist.

    Example:
        >>> metrics = StoredResultsDataset(path="data/08_reporting/metrics", dataset="json.JSONDataset")
        >>> metrics.load()
        {}
    """

    def load(self) -> dict[str, Any]:
        """Name of each file, below the folder and without its suffix -> its loader."""
        self.release()  # what was there when the run started is remembered
        return super().load() if self._exists() else {}
