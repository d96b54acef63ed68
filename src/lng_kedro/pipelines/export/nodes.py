"""Nodes of export."""

from pathlib import Path
from typing import Any

from lng_kedro.export.card import SPLITS, Facts, figures_of, model_card
from lng_kedro.export.merge import Merged, merge_adapter
from lng_kedro.export.params import ExportParams
from lng_kedro.registry import merged_name, register_merged
from lng_kedro.results import Stored
from lng_kedro.vlm.adapter import adapter_hash, learned_from, stored_dialogue, trained_stages
from lng_kedro.vlm.merged import stored_origin
from lng_kedro.vlm.spec import VlmParams


def merge(
    adapter: Path,
    all_samples: Stored,
    drawn_with: Stored,
    predictions: Stored,
    metrics: Stored,
    vlm: VlmParams,
) -> Merged:
    """The adapter in the 16-bit weights of its base, with a card of whatever is stored of this adapter.

    Args:
        adapter: its folder.
        all_samples: ``<split>_samples`` -> loader.
        drawn_with: table -> loader of the parameters that it was made with.
        predictions: ``predictions_<stage>`` -> loader.
        metrics: ``<model>/<stage>`` -> loader.
        vlm: gives the base model.

    Raises:
        ValueError: the adapter does not belong to the model, or does not say how it is asked.
    """
    weights, samples = adapter_hash(adapter), {split: f"{split}_samples" for split in SPLITS}
    facts = Facts(
        name=merged_name(vlm.model),
        vlm=vlm,
        dialogue=stored_dialogue(adapter),
        adapter_sha256=weights,
        learned_from=learned_from(adapter).keys(),
        stages=trained_stages(adapter),
        figures=figures_of(weights, vlm.model, predictions, metrics),
        splits={split: all_samples[name]() for split, name in samples.items() if name in all_samples},
        draw=drawn_with["draw"]() if "draw" in drawn_with else None,
    )
    return merge_adapter(vlm, adapter, model_card(facts))


def register(merged: Path, params: ExportParams) -> dict[str, Any]:
    """Makes the merged model a version of a registered model.

    Returns:
        Its name, version and address, or nothing where MLflow is switched off.
    """
    return register_merged(merged, stored_origin(merged), params.model_dump(mode="json"))
