from pathlib import Path

from transformers import AutoModelForImageTextToText, AutoProcessor

from lng_kedro.datasets import CheckpointDataset
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.vlm.tiny import build_model, build_processor


def test_round_trip_replaces_what_was_there(taxonomy: Taxonomy, tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "model"))
    assert not dataset.exists()
    processor = build_processor(taxonomy, 128)
    for seed in (0, 1):
        dataset.save((build_model(processor, (1, 32, 1), (1, 32, 1), seed), processor))
    assert dataset.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"], "nothing unfinished is left"
    loaded = AutoModelForImageTextToText.from_pretrained(dataset.load())
    wanted = build_model(processor, (1, 32, 1), (1, 32, 1), seed=1)
    weight = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert loaded.state_dict()[weight].equal(wanted.state_dict()[weight])
    assert AutoProcessor.from_pretrained(dataset.load()).tokenizer("crack").input_ids == (
        processor.tokenizer("crack").input_ids
    )
