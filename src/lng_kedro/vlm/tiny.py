"""A Qwen2.5-VL of a few million parameters: the real transformers classes, built here from nothing.

It stands for the instruct checkpoints where those cannot run. Its tokenizer is byte-level, so that it
reads and writes any text, and knows whole phrases (prompt lines, keys, values, numbers) as single
tokens, so that a report is some twenty tokens an object.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.prompts import SYSTEM_PROMPT, user_prompt
from lng_kedro.report import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

PATCH = 16
MERGE = 2
PAD, END, IMAGE = "<|endoftext|>", "<|im_end|>", "<|image_pad|>"
SPECIAL = [PAD, "<|im_start|>", END, "<|vision_start|>", "<|vision_end|>", IMAGE, "<|video_pad|>"]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def phrases(taxonomy: Taxonomy, size: int, extra: Iterable[str] = ()) -> list[str]:
    """Texts that the tokenizer knows as one token each.

    Args:
        taxonomy: gives the prompt's lines, the report's keys and its values.
        size: side in pixels of the photo that the model sees; numbers up to it are tokens.
        extra: further phrases (the words of the pretraining's generic tasks).
    """
    keys = taxonomy.field_names
    glue = [f'[{{"{LABEL}":"', f'","{BBOX}":[', f'],"{keys[0]}":"', '"},{"label":"', '"}]', "[]", ",", ": "]
    glue += [f'","{key}":"' for key in keys[1:]]
    glue += [THINK_OPEN, f"{THINK_CLOSE}{ANSWER_OPEN}", ANSWER_CLOSE, ", "]
    lines = user_prompt(taxonomy, Frame(size, size)).splitlines(keepends=True)
    values = [value for field in (LABEL, *keys) for value in taxonomy.choices(field)]
    numbers = [str(n) for n in range(size + 1)]
    known = [*glue, SYSTEM_PROMPT, *lines, *values, *numbers, "system\n", "user\n", "assistant\n", *extra]
    return list(dict.fromkeys(known))


def build_tokenizer(known: Sequence[str]) -> Any:
    """A byte-level `PreTrainedTokenizerFast` with `known` phrases and Qwen's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in known])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE, "video_token": "<|video_pad|>"},
    )


def build_processor(taxonomy: Taxonomy, size: int, extra: Iterable[str] = ()) -> Any:
    """The real `Qwen2_5_VLProcessor` around the small tokenizer; photos are resized to `size`."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    pixels = {"min_pixels": size * size, "max_pixels": size * size}
    grid: dict[str, Any] = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels, **grid),
        tokenizer=build_tokenizer(phrases(taxonomy, size, extra)),
        video_processor=Qwen2VLVideoProcessor(**pixels, **grid),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Any, vision: Sequence[int], text: Sequence[int], seed: int) -> Any:
    """A randomly initialised `Qwen2_5_VLForConditionalGeneration`.

    Args:
        processor: from `build_processor`; gives the vocabulary and the special tokens' ids.
        vision: (layers, width, heads) of the vision tower.
        text: (layers, width, heads) of the language model; a head is `width / heads` wide.
        seed: of the initial weights.
    """
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": vision[0],
            "hidden_size": vision[1],
            "intermediate_size": vision[1] * 3,
            "num_heads": vision[2],
            "out_hidden_size": text[1],
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": PATCH * MERGE * 4,
            "fullatt_block_indexes": list(range(vision[0])),
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": text[1],
            "intermediate_size": text[1] * 3,
            "num_hidden_layers": text[0],
            "num_attention_heads": text[2],
            "num_key_value_heads": text[2],
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                # Photos are four tokens wide. Time, rows and columns take the frequencies by turns: each
                # has high ones, which tell neighbours apart, and low ones, by which a token far behind is
                # found by what it means. In three blocks, as usual, columns would have the low ones only.
                "rope_theta": 1000.0,
                "mrope_section": [1] * (text[1] // text[2] // 2),
            },
            "bos_token_id": None,
            "eos_token_id": ids(END),
            "pad_token_id": ids(PAD),
        },
        image_token_id=ids(IMAGE),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    _order_numbers(model.get_input_embeddings().weight, number_ids(tokenizer))
    model.generation_config.eos_token_id = ids(END)
    model.generation_config.pad_token_id = ids(PAD)
    return model


def number_ids(tokenizer: Any) -> list[int]:
    """Ids of the tokens "0", "1", "2", … that are single tokens."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[str(n)] for n in range(len(vocabulary)) if str(n) in vocabulary]


def _order_numbers(embedding: Any, ids: Sequence[int]) -> None:
    """Gives neighbouring numbers similar embeddings, in place, at the scale of the others.

    Drawn independently, each of the coordinates' tokens would have to be learnt on its own.
    """
    import math

    import torch

    width = embedding.shape[1]
    waves = torch.arange(1, width // 2 + 1)
    phases = torch.arange(len(ids))[:, None] * waves * math.pi / len(ids)
    features = torch.cat([phases.cos(), phases.sin()], dim=1) * torch.exp(-((waves / 12) ** 2) / 2).repeat(2)
    rotation = torch.linalg.qr(torch.randn(features.shape[1], features.shape[1])).Q
    features = features @ rotation
    scale = embedding.data.norm(dim=1).mean() / features.norm(dim=1, keepdim=True)
    embedding.data[list(ids), : features.shape[1]] = features * scale
