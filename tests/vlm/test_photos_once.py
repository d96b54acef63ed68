import torch

from lng_kedro.prompts import chat_prompt
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once
from lng_kedro.vlm.spec import LoraParams


def load(family_params, new_adapter=None):
    """A model, its tower's first layer, and a list that gets the size of what each pass of the tower sees."""
    model = load_vlm(family_params, new_adapter=new_adapter, trainable=True).model
    (tower,) = [m for n, m in model.named_modules() if n.endswith(("model.visual", "model.vision_tower"))]
    seen = []
    tower.register_forward_pre_hook(
        lambda _, args, options: seen.append(len(args[0] if args else options["pixel_values"])),
        with_kwargs=True,
    )
    weight = next(p for n, p in tower.named_parameters() if "q" in n and p.ndim == 2)
    return model, weight, seen


def inputs(family_params, photos, taxonomy, numbers):
    vlm = load_vlm(family_params)
    prompt = with_photo(chat_prompt(taxonomy, vlm.frame))
    text = vlm.processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    images = [[photos.load(f"p{i}")] for i in numbers]
    return vlm.processor(
        text=[text] * len(images), images=images, return_tensors="pt", add_special_tokens=False
    )


def test_equal_photos_are_encoded_once_with_the_same_result(family_params, photos, taxonomy):
    """Two photos, three and two times, mixed as GRPO mixes a step's completions; the tower learns."""
    batch = inputs(family_params, photos, taxonomy, (3, 1, 1, 3, 1))

    def run(once):
        model, weight, seen = load(family_params)
        if once:
            encode_photos_once(model, keep=9)
        logits = model(**batch).logits
        # Each answer counts differently, so that a gradient sent to the wrong photo shows.
        (logits[:, -1].logsumexp(dim=-1) * torch.arange(1.0, 6.0)).sum().backward()
        return logits.detach(), weight.grad, seen

    logits, gradient, seen = run(once=False)
    logits_once, gradient_once, seen_once = run(once=True)
    assert seen_once == [seen[0] * 2 // 5]
    torch.testing.assert_close(logits_once, logits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradient_once, gradient, atol=1e-4, rtol=1e-3)
    assert gradient.abs().max() > 1e-4


def test_a_frozen_towers_features_serve_the_passes_that_follow(family_params, photos, taxonomy):
    lora = LoraParams(rank=2, alpha=4, dropout=0.0)
    first, mixed, other = (
        inputs(family_params, photos, taxonomy, numbers) for numbers in ((3, 3), (3, 1), (2, 2))
    )
    plain, _, _ = load(family_params, lora)
    model, _, seen = load(family_params, lora)
    encode_photos_once(model, keep=2)
    for batch in (first, mixed, first, other, mixed):
        torch.testing.assert_close(model(**batch).logits, plain(**batch).logits, atol=1e-4, rtol=1e-5)
    # p3; p1 (p3 is kept); none; p2, which drives out p3, the oldest; p3 again.
    assert [n // seen[0] for n in seen] == [1, 1, 1, 1]


def test_a_tower_that_learns_is_asked_again(family_params, photos, taxonomy):
    batch = inputs(family_params, photos, taxonomy, (3,))
    model, _, seen = load(family_params)
    encode_photos_once(model, keep=2)
    for _ in range(2):
        model(**batch)
    assert len(seen) == 2
