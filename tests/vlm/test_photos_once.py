import pytest
import torch

from lng_kedro.prompts import chat_prompt
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once


@pytest.fixture(scope="module")
def inputs(vlm_params, photos, taxonomy):
    """Two photos, three and two times, mixed as GRPO mixes a step's completions."""
    vlm = load_vlm(vlm_params)
    prompt = with_photo(chat_prompt(taxonomy, vlm.frame))
    text = vlm.processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    images = [[photos.load(f"p{i}")] for i in (3, 1, 1, 3, 1)]
    return vlm.processor(text=[text] * 5, images=images, return_tensors="pt")


def run(vlm_params, inputs, once):
    """Logits, a gradient of the vision tower, and how many patches the tower saw."""
    model = load_vlm(vlm_params).model
    seen = []
    model.model.visual.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    if once:
        encode_photos_once(model)
    logits = model(**inputs).logits
    # Each answer counts differently, so that a gradient sent to the wrong photo shows.
    (logits[:, -1].logsumexp(dim=-1) * torch.arange(1.0, 6.0)).sum().backward()
    return logits.detach(), model.model.visual.blocks[0].attn.qkv.weight.grad, seen


def test_equal_photos_are_encoded_once_with_the_same_result(vlm_params, inputs):
    logits, gradient, seen = run(vlm_params, inputs, once=False)
    logits_once, gradient_once, seen_once = run(vlm_params, inputs, once=True)
    assert (seen, seen_once) == ([5 * 64], [2 * 64])
    torch.testing.assert_close(logits_once, logits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradient_once, gradient, atol=1e-4, rtol=1e-4)
    assert gradient.abs().max() > 1e-2
