"""Nodes of inspection."""

import json
from collections.abc import Iterable
from pathlib import Path

from lng_kedro.inspection.engine import Engine, InspectionStopped
from lng_kedro.inspection.in_process import InProcessEngine
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.params import InProcessParams, InspectionParams
from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.inspection.review_page import render_review_page
from lng_kedro.inspection.run import inspect_photos
from lng_kedro.inspection.tables import errors_csv, findings_csv, reports_coco, summary
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.vlm.adapter import stored_dialogue
from lng_kedro.vlm.merged import known_adapter_hash
from lng_kedro.vlm.spec import VlmParams


def inspect(
    photos: NewPhotos,
    journal: Reports,
    adapter: Path | None,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: InspectionParams,
) -> tuple[Reports, Taxonomy, str]:
    """Reports the photos that are new or changed; goes on where it was cut off.

    Returns:
        The reports, the taxonomy that the model keeps to, and a summary (JSON).

    Raises:
        ValueError: the adapter is of another model, or nothing says how it is spoken with.
        InspectionStopped: it was interrupted, or nothing answers any more.
    """
    engine = _engine(adapter, taxonomy, vlm_params, params)
    counts = inspect_photos(photos, journal, engine, params)
    return (
        journal,
        engine.dialogue.taxonomy,
        json.dumps(summary(journal, counts), ensure_ascii=False, indent=1),
    )


def tables(reports: Reports, taxonomy: Taxonomy) -> tuple[str, str, str]:
    """Texts of the table of findings, the table of errors and COCO's form."""
    coco = json.dumps(reports_coco(reports, taxonomy), ensure_ascii=False)
    return findings_csv(reports, taxonomy), errors_csv(reports), coco


def review_page(
    photos: NewPhotos, reports: Reports, taxonomy: Taxonomy, params: InspectionParams
) -> Iterable[str]:
    """Pieces of the review page: HTML with the photos to look at first."""
    folder = NewPhotos(photos.root)  # reports may be of photos that a pattern leaves out this time
    return render_review_page(
        reports, lambda photo: folder.read(photo, params.max_bytes)[1], taxonomy, params.page_mib
    )


def _engine(
    adapter: Path | None, taxonomy: Taxonomy, vlm_params: VlmParams, params: InspectionParams
) -> Engine:
    if isinstance(params.engine, InProcessParams):
        return InProcessEngine(
            vlm_params, adapter, taxonomy, params.engine, params.max_new_tokens, params.constrained
        )
    from lng_kedro.inspection.server import ServerEngine

    if adapter is None:
        raise InspectionStopped(
            "Nothing says how the server's model is asked: --params adapter=PATH names a copy of its "
            "adapter, or of the merged model"
        )
    try:
        return ServerEngine(
            params.engine, stored_dialogue(adapter), params.max_new_tokens, known_adapter_hash(adapter)
        )
    except ValueError as error:
        raise InspectionStopped(str(error)) from error
