"""Tiny checkpoints of all families, as the real ones but for their size and their random weights."""

from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from trl import chat_template_utils

from lng_kedro.geometry import PROCESSED, Frame
from lng_kedro.prompts import user_prompt
from lng_kedro.vlm.tiny import phrases

PATCH = 14
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"]
TOKENS = {
    "qwen2_5_vl": (
        [*QWEN, "<|image_pad|>", "<|video_pad|>"],
        {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    ),
    "gemma3": (
        [*GEMMA, "<end_of_image>", "<image_soft_token>"],
        {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
        | {"padding_side": "left"},
    ),
    "llava_next": (
        ["<unk>", "<s>", "</s>", "<image>", "<pad>"],
        {"image_token": "<image>"},
        {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        | {"padding_side": "left"},
    ),
}
"""Family -> its special tokens, those of pictures by their names, and the tokenizer's settings."""


def make_checkpoint(family: str, folder: Path, taxonomy, seed: int = 0) -> Path:
    """Writes model and processor of a family into a folder, which `from_pretrained` reads."""
    build, ends = {
        "qwen2_5_vl": (_qwen2_5_vl, ["<|im_end|>", "<|endoftext|>"]),
        "gemma3": (_gemma3, ["<eos>", "<end_of_turn>"]),
        "llava_next": (_llava_next, "</s>"),
    }[family]
    torch.manual_seed(seed)
    processor, model = build(taxonomy)
    # Else all tokens are nearly equally likely. To add suits Gemma too, whose norm multiplies by 1 + weight.
    model.model.language_model.norm.weight.data += 19
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(ends)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def byte_level(vocabulary: list[str], merges=()) -> Tokenizer:
    """An id is a place in the vocabulary, which holds all bytes, and what is merged of them."""
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return core


def make_tokenizer(family: str, core: Tokenizer, known=()):
    """A family's tokenizer: `core`, which holds the family's special tokens, with phrases as tokens."""
    special, extra, settings = TOKENS[family]
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in known])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        clean_up_tokenization_spaces=False,
        add_bos_token="bos_token" in settings,
        extra_special_tokens=extra,
        **settings,
    )


def _tokenizer(family: str, taxonomy):
    """Byte-level, with whole phrases as tokens; and what a text model's configuration says of it."""
    # Prompts and boxes are short in every frame: a family's own, and the processed photo's.
    frames = Frame(112, 112), Frame(1, 1, decimals=2), PROCESSED
    extra = [line for frame in frames for line in user_prompt(taxonomy, frame).splitlines(keepends=True)]
    extra += [str(n / 100) for n in range(101)]
    extra += ["model\n", "\n\n", "[INST]", "[/INST]", "<<SYS>>\n", "\n<</SYS>>\n\n"]
    core = byte_level([*TOKENS[family][0], *sorted(pre_tokenizers.ByteLevel.alphabet())])
    tokenizer = make_tokenizer(family, core, phrases(taxonomy, 1000, extra))
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return tokenizer, {"vocab_size": len(tokenizer), **ids}


def make_processor(family: str, tokenizer, side: int, photo_tokens: int = 4, shapes=()):
    """The processor of a family.

    Qwen2.5-VL sees a photo with side x side pixels; Gemma-3 as photo_tokens tokens; LLaVA-NeXT in tiles of
    that side, which make up one of the shapes.
    """
    if family == "qwen2_5_vl":
        pictures = {"min_pixels": side**2, "max_pixels": side**2, "patch_size": PATCH, "merge_size": 2}
        return transformers.Qwen2_5_VLProcessor(
            image_processor=transformers.Qwen2VLImageProcessor(**pictures),
            tokenizer=tokenizer,
            video_processor=transformers.Qwen2VLVideoProcessor(**pictures),
            chat_template=chat_template_utils.qwen2_5_vl_chat_template,
        )
    if family == "gemma3":
        return transformers.Gemma3Processor(
            image_processor=transformers.Gemma3ImageProcessor(size={"height": side, "width": side}),
            tokenizer=tokenizer,
            chat_template=chat_template_utils.gemma3_chat_template,
            image_seq_length=photo_tokens,
        )
    return transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_grid_pinpoints=shapes,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        num_additional_image_tokens=1,
        chat_template=chat_template_utils.llava_next_chat_template,
        vision_feature_select_strategy="default",
    )


def _qwen2_5_vl(taxonomy):
    tokenizer, vocabulary = _tokenizer("qwen2_5_vl", taxonomy)
    processor = make_processor("qwen2_5_vl", tokenizer, 112)  # 8 x 8 patches, 4 x 4 tokens
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": TEXT["hidden_size"],
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            # The first layer sees windows of 2 x 2 tokens, the second all.
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **TEXT,
            **vocabulary,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=QWEN.index("<|vision_start|>"),
        vision_end_token_id=QWEN.index("<|vision_end|>"),
    )
    return processor, transformers.Qwen2_5_VLForConditionalGeneration(config)


def _gemma3(taxonomy):
    tokenizer, vocabulary = _tokenizer("gemma3", taxonomy)
    processor = make_processor("gemma3", tokenizer, 56)  # 4 x 4 patches, 2 x 2 tokens
    config = transformers.Gemma3Config(
        vision_config={**VISION, "image_size": 56, "patch_size": PATCH, "vision_use_head": False},
        text_config={
            **TEXT,
            **vocabulary,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 32,  # shorter than a prompt with its answer
            "layer_types": ["sliding_attention", "full_attention"],
        },
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    # It starts at nought, and the model blind.
    model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.2)
    return processor, model


def _llava_next(taxonomy):
    tokenizer, vocabulary = _tokenizer("llava_next", taxonomy)
    # The whole photo and its quarters at 56 pixels, 4 x 4 patches each: 16 + 64 tokens, and 8 ends of lines.
    shapes = [[56, 112], [112, 56], [112, 112]]
    processor = make_processor("llava_next", tokenizer, 56, shapes=shapes)
    config = transformers.LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", **VISION, "image_size": 56, "patch_size": PATCH},
        text_config={"model_type": "mistral", **TEXT, **vocabulary, "sliding_window": None},
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=shapes,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return processor, transformers.LlavaNextForConditionalGeneration(config)
