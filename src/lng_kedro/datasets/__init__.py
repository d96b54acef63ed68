"""Kedro datasets of this project."""

from lng_kedro.datasets.adapter import AdapterDataset, AdapterInUseDataset
from lng_kedro.datasets.aihub import AIHubDataset, RenderedAIHubDataset, ReviewedDataset
from lng_kedro.datasets.checkpoint import CheckpointDataset
from lng_kedro.datasets.detector import DetectorDataset
from lng_kedro.datasets.label_studio import CorrectionsDataset
from lng_kedro.datasets.labels import LabelJournalDataset
from lng_kedro.datasets.merged import MergedModelDataset
from lng_kedro.datasets.photos import PhotoFolderDataset, PhotoJournalDataset
from lng_kedro.datasets.reports import (
    NewPhotosDataset,
    RenderedPhotosDataset,
    ReportsDataset,
    WholeTextDataset,
)
from lng_kedro.datasets.stored import StoredResultsDataset
from lng_kedro.datasets.taxonomy import TaxonomyDataset

__all__ = [
    "AIHubDataset",
    "AdapterDataset",
    "AdapterInUseDataset",
    "CheckpointDataset",
    "CorrectionsDataset",
    "DetectorDataset",
    "LabelJournalDataset",
    "MergedModelDataset",
    "NewPhotosDataset",
    "PhotoFolderDataset",
    "PhotoJournalDataset",
    "RenderedAIHubDataset",
    "RenderedPhotosDataset",
    "ReportsDataset",
    "ReviewedDataset",
    "StoredResultsDataset",
    "TaxonomyDataset",
    "WholeTextDataset",
]
