import pytest
from pydantic import ValidationError
from transformers import AutoProcessor, Qwen2VLImageProcessor

from lng_kedro.geometry import Frame
from lng_kedro.vlm.families import FAMILIES
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import ModelSpec, VlmParams


class _Processor:
    def __init__(self, image_processor):
        self.image_processor = image_processor


def test_qwen_speaks_pixels_of_its_own_resize():
    # 512 / 28 = 18.3, so the real checkpoints resize to 18 x 28 = 504.
    images = Qwen2VLImageProcessor(patch_size=14, merge_size=2, min_pixels=3136, max_pixels=12845056)
    assert FAMILIES["qwen2_5_vl"].native_frame(_Processor(images), 512) == Frame(504, 504)


def test_the_tiny_models_frame_is_what_its_processor_sees(vlm_params):
    processor = AutoProcessor.from_pretrained(vlm_params.spec.checkpoint)
    assert FAMILIES["qwen2_5_vl"].native_frame(processor, 512) == Frame(128, 128)


def test_other_families():
    assert FAMILIES["llava_next"].native_frame(None, 512).encode((128, 256, 300, 512)) == (
        0.25,
        0.5,
        0.59,
        1.0,
    )
    assert FAMILIES["gemma3"].native_frame(None, 512).encode((128, 256, 300, 512)) == (250, 500, 586, 1000)


def test_processed_frame_can_be_chosen(vlm_params):
    chosen = VlmParams(**vlm_params.model_dump() | {"frame": "processed"})
    assert load_vlm(chosen).frame == Frame(512, 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "qwen9"}, "no model family 'qwen9'; there are qwen2_5_vl, gemma3, llava_next"),
        ({"backend": "unsloth"}, "backend 'unsloth' needs device 'cuda'"),
        ({"device": "tpu"}, "'cuda' or 'cpu'"),
        ({"quantise": True}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_entries_are_refused(vlm_params, changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelSpec(**vlm_params.spec.model_dump() | changes)


def test_unknown_model_lists_the_known(vlm_params):
    with pytest.raises(ValidationError, match="there is no model 'gemma'; choose one of tiny"):
        VlmParams(**vlm_params.model_dump() | {"model": "gemma"})
