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


def _tokenizer(taxonomy, special: list[str], extra_special: dict[str, str], **settings):
    """Byte-level, with whole phrases as tokens; and what a text model's configuration says of it."""
    # The ids of the special tokens are their places in the list.
    vocabulary = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    # Prompts and boxes are short in every frame: a family's own, and the processed photo's.
    frames = Frame(112, 112), Frame(1, 1, decimals=2), PROCESSED
    extra = [line for frame in frames for line in user_prompt(taxonomy, frame).splitlines(keepends=True)]
    extra += [str(n / 100) for n in range(101)]
    extra += ["model\n", "\n\n", "[INST]", "[/INST]", "<<SYS>>\n", "\n<</SYS>>\n\n"]
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases(taxonomy, 1000, extra)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        clean_up_tokenization_spaces=False,
        add_bos_token="bos_token" in settings,
        extra_special_tokens=extra_special,
        **settings,
    )
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return tokenizer, {"vocab_size": len(tokenizer), **ids}


def _qwen2_5_vl(taxonomy):
    image, video = "<|image_pad|>", "<|video_pad|>"
    start, end = "<|vision_start|>", "<|vision_end|>"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", start, end, image, video]
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    extra = {"image_token": image, "video_token": video}
    tokenizer, vocabulary = _tokenizer(taxonomy, special, extra, **names)
    # 112 pixels: 8 x 8 patches, 4 x 4 tokens.
    pictures = {"min_pixels": 112**2, "max_pixels": 112**2, "patch_size": PATCH, "merge_size": 2}
    processor = transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**pictures),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(**pictures),
        chat_template=chat_template_utils.qwen2_5_vl_chat_template,
    )
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
        vision_start_token_id=tokenizer.convert_tokens_to_ids(start),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(end),
    )
    return processor, transformers.Qwen2_5_VLForConditionalGeneration(config)


def _gemma3(taxonomy):
    image, start, end = "<image_soft_token>", "<start_of_image>", "<end_of_image>"
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", start, end, image]
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    extra = {"image_token": image, "boi_token": start, "eoi_token": end}
    tokenizer, vocabulary = _tokenizer(taxonomy, special, extra, padding_side="left", **names)
    # 56 pixels: 4 x 4 patches, 2 x 2 tokens.
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        chat_template=chat_template_utils.gemma3_chat_template,
        image_seq_length=4,
    )
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
    special = ["<unk>", "<s>", "</s>", "<image>", "<pad>"]
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    extra = {"image_token": "<image>"}
    tokenizer, vocabulary = _tokenizer(taxonomy, special, extra, padding_side="left", **names)
    # The whole photo and its quarters at 56 pixels, 4 x 4 patches each: 16 + 64 tokens, and 8 ends of lines.
    shapes = [[56, 112], [112, 56], [112, 112]]
    processor = transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=shapes
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        num_additional_image_tokens=1,
        chat_template=chat_template_utils.llava_next_chat_template,
        vision_feature_select_strategy="default",
    )
    config = transformers.LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", **VISION, "image_size": 56, "patch_size": PATCH},
        text_config={"model_type": "mistral", **TEXT, **vocabulary, "sliding_window": None},
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=shapes,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return processor, transformers.LlavaNextForConditionalGeneration(config)
