"""A model card says what is known of its adapter, and nothing else, whatever the texts are."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from lng_kedro.export.card import Facts, escaped, figures_of, model_card
from lng_kedro.results import predictions_hash
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.spec import VlmParams
from tests.export.conftest import stage_of

OURS, ANOTHER = "a" * 64, "b" * 64


def predictions(weights=OURS, objects="[]"):
    return pd.DataFrame({"photo_id": ["p4", "p5"], "objects": objects, "weights_sha256": weights})


def document(table):
    return {
        "about": {"photos": 2, "objects": 3, "predictions_sha256": predictions_hash(table)},
        "metrics": {"map_50": 0.6644, "f1_50": 0.5, "f1_label": 0.4321, "macro_f1_label": 0.25}
        | {"count_error": 0.135, "valid_json": 1.0, "ap_50/crack": 0.31},
        "intervals": {"map_50": [0.6341, 0.7063], "count_error": [0.1, 0.17], "ap_50/crack": [0.2, 0.4]},
        "labels": {
            "crack": {"ap_50": 0.31, "f1_50": 0.5, "n_true": 3},
            "cutting": {"ap_50": None, "f1_50": 0.0, "n_true": 0},
        },
    }


def samples(*photos, label="crack"):
    truth = json.dumps([{"label": label}] * 2)
    return pd.DataFrame({"photo_id": photos, "photo_label": label, "ground_truth": truth})


@pytest.fixture
def facts(vlm_params, taxonomy):
    """All is known."""
    params = vlm_params.model_copy(update={"model": "tiny"})
    return Facts(
        vlm=params,
        dialogue=Dialogue(taxonomy=taxonomy, frame={"width": 128, "height": 128}, reasoning=True),
        adapter_sha256=OURS,
        learned_from={"p0", "p1", "p2"},
        stages=[stage_of(params), stage_of(params, stage="GRPO", parameters={"beta": 0.01, "seed": 43})],
        figures=("sft_grpo", document(predictions())),
        splits={
            "sft": samples("p0", "p1"),
            "grpo": samples("p2", label=None),
            "test": samples("p4", "p5", label="cutting"),
        },
        draw={"seed": 17, "good_share": 0.3, "negative_share": 0.0},
        name="lng_kedro.tiny.merged",
    )


@pytest.mark.parametrize(
    ("constrained", "said"),
    [(True, "could be nothing but whole reports (constrained)"), (False, "were free (not constrained)")],
)
def test_of_which_answers_the_figures_are(facts, constrained, said):
    stage, figures = facts.figures
    figures["about"]["constrained"] = constrained
    assert f"Its answers {said}" in " ".join(model_card(replace(facts, figures=(stage, figures))).split())


def with_spec(facts, **spec):
    entry = facts.vlm.spec.model_dump() | spec
    params = VlmParams(model=facts.vlm.model, frame="native", models={facts.vlm.model: entry})
    return replace(facts, vlm=params)


def tables(card):
    """Rows of each table, as a reader sees them."""
    found, rows = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(card):
        if token.type == "table_open":
            found.append(rows := [])
        elif token.type == "table_close":
            rows = None
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children))
    return found


def front(card):
    return ModelCard(card).data.to_dict()


def test_all_that_is_known(facts):
    card = model_card(facts)
    _, fields, data, sft, grpo, figures, labels = tables(card)
    assert fields[1][0] == "label" and fields[1][1].startswith("welding, weld blowhole, crack, ")
    assert data == [
        [
            "label of the photo",
            *(
                "SFT: photos",
                "SFT: objects",
                "GRPO: photos",
                "GRPO: objects",
                "test: photos",
                "test: objects",
            ),
        ],
        ["crack", "2", "4", "0", "0", "0", "0"],
        ["cutting", "0", "0", "0", "0", "2", "4"],
        ["no findings", "0", "0", "1", "2", "0", "0"],
        ["all", "2", "4", "1", "2", "2", "4"],
    ]
    assert sft[1:] == [["seed", "42"], ["lora.rank", "4"]]
    assert grpo[1:] == [["beta", "0.01"], ["seed", "43"]]
    assert figures[1:] == [
        ["mAP@50", "66.4", "63.4 to 70.6"],
        ["F1@50 of label and box", "50.0", "not known"],
        ["F1 label, micro", "43.2", "not known"],
        ["F1 label, macro", "25.0", "not known"],
        ["valid JSON", "100.0", "not known"],
        ["mean error of the number of findings", "0.14", "0.10 to 0.17"],
    ]
    assert labels[1:] == [
        ["crack", "3", "31.0", "20.0 to 40.0", "50.0"],
        ["cutting", "0", "no truth", "not known", "0.0"],
    ]
    assert "It learned from 3 photos" in card
    assert "drawn with seed 17" in card
    # Nobody has said under which licence the tiny model is.
    assert [line for line in card.splitlines() if line.startswith("Missing")] == [
        "Missing: nobody has said under which licence the base checkpoint is (`license` of its entry in"
    ]


def test_nothing_is_known(facts):
    bare = replace(facts, learned_from=set(), stages=[], figures=None, splits={}, draw=None)
    card = model_card(bare)
    said = [line for line in card.splitlines() if line.startswith("Missing")]
    assert len(said) == 5
    assert len(tables(card)) == 2
    assert "it may never have seen some of them" in card


def test_other_splits_than_it_learned_from_are_not_counted(facts):
    card = model_card(replace(facts, splits={"sft": samples("p0", "x"), "grpo": samples("p2")}))
    data = tables(card)[2]
    assert data[0] == ["label of the photo", "GRPO: photos", "GRPO: objects"]
    assert "1 of them are not in the splits that are stored now" in card
    gone = model_card(replace(facts, splits={"sft": samples("x"), "test": samples("p0", "p5")}))
    assert "the splits that are stored now are not those that it learned from" in gone


def test_test_photos_of_other_figures_are_not_counted(facts):
    splits = facts.splits | {"test": samples("p4", "p5", "p6")}
    assert tables(model_card(replace(facts, splits=splits)))[2][0][-1] == "GRPO: objects"


class TestWhoseFigures:
    """They are found by the hash of the adapter, never by the name of a stage alone."""

    def found(self, tables, documents):
        stored = {f"predictions_{stage}": lambda t=t: t for stage, t in tables.items()}
        metrics = {f"tiny/{stage}": lambda d=d: d for stage, d in documents.items()}
        return figures_of(OURS, "tiny", stored, metrics)

    def test_of_the_stage_that_it_is(self):
        other, ours = predictions(ANOTHER), predictions(objects='[{"label": "crack"}]')
        documents = {"sft_grpo": document(other), "grpo": document(ours)}
        assert self.found({"sft_grpo": other, "grpo": ours}, documents) == ("grpo", document(ours))

    @pytest.mark.parametrize(
        ("tables", "documents"),
        [
            ({}, {}),
            ({"sft_grpo": predictions(ANOTHER)}, {"sft_grpo": document(predictions(ANOTHER))}),
            ({"sft_grpo": predictions([OURS, ANOTHER])}, {"sft_grpo": document(predictions())}),
            ({"sft_grpo": predictions()}, {}),
            ({}, {"sft_grpo": document(predictions())}),
            # Of earlier predictions.
            ({"sft_grpo": predictions()}, {"sft_grpo": document(predictions(objects="[1]"))}),
            ({"sft_grpo": predictions()[:0]}, {"sft_grpo": document(predictions()[:0])}),
        ],
    )
    def test_of_none(self, tables, documents):
        assert self.found(tables, documents) is None

    def test_of_another_model(self):
        stored = {"predictions_sft": predictions}
        assert figures_of(OURS, "tiny", stored, {"other/sft": lambda: document(predictions())}) is None


class TestFrontMatter:
    def test_hugging_face_reads_it(self, facts):
        terms = {
            "id": "other",
            "name": "qwen-research",
            "link": "https://a.b/LICENSE",
            "terms": "No trade.",
        }
        card = model_card(with_spec(facts, checkpoint="Qwen/Qwen2.5-VL-3B-Instruct", license=terms))
        assert front(card) == {
            "base_model": "Qwen/Qwen2.5-VL-3B-Instruct",
            "base_model_relation": "finetune",
            "library_name": "transformers",
            "pipeline_tag": "image-text-to-text",
            "license": "other",
            "license_name": "qwen-research",
            "license_link": "https://a.b/LICENSE",
            "language": ["en"],
            "tags": ["lng_kedro", "visual-inspection", "object-detection", "qwen2_5_vl", "sft", "grpo"],
        }
        assert "No trade." in card

    def test_a_folder_is_no_model_of_the_hub(self, facts):
        assert "base_model" not in front(model_card(facts))
        assert "license" not in front(model_card(facts))

    def test_no_text_leaves_it(self, facts):
        evil = 'x\n---\nlicense: mit # "'
        card = model_card(with_spec(facts, checkpoint=evil))
        assert front(card)["base_model"] == evil
        assert "license" not in front(card)


HOSTILE = [
    "<script>alert(1)</script>",
    "![x](http://nowhere/y.png)",
    "[a](javascript:alert(1))",
    "a | b",
    "`code`",
    "**bold** _x_ ~~y~~",
    "# head",
    "- item",
    "1. item",
    "---",
    "===",
    "two\n\n# lines",
    "&lt;b&gt; &copy;",
    "\\",
    "0.5",
    "$x$",
    "> quote",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is(text):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(str(escaped(text)))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}
    assert "".join(child.content for child in tokens[1].children) == " ".join(text.split())


def renamed(facts, text):
    """A label of that name."""
    taxonomy = facts.dialogue.taxonomy
    first, *rest = taxonomy.labels
    labels = (first.model_copy(update={"name": text}), *rest)
    other = type(taxonomy)(**taxonomy.model_copy(update={"labels": labels}).model_dump())
    return replace(facts, dialogue=facts.dialogue.model_copy(update={"taxonomy": other}))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_labels_and_parameters_changes_nothing_else(facts, text):
    stages = [stage_of(facts.vlm, parameters={"optimizer": text}), facts.stages[1]]
    hostile = replace(renamed(facts, text), stages=stages, splits={"sft": samples("p0", "p1", label=text)})
    card, kinds = model_card(hostile), []
    for each in (card, model_card(facts)):
        tokens = MarkdownIt("commonmark").enable("table").parse(each)
        kinds.append([token.type for token in tokens if token.level == 0])
        within = {child.type for token in tokens for child in token.children or ()}
        assert within <= {"text", "text_special", "softbreak", "code_inline"}
    assert kinds[0] == kinds[1]
    rows = [row for table in tables(card) for row in table]
    assert ["optimizer", " ".join(text.split())] in rows
    assert [" ".join(text.split()), "2", "4"] in [row[:3] for row in rows]


def test_a_prompt_with_a_fence_stays_in_its_block(facts):
    card = model_card(renamed(facts, "```` x"))
    fences = [token for token in MarkdownIt("commonmark").parse(card) if token.type == "fence"]
    (prompt,) = [token.content for token in fences if token.info == "json"]
    assert "```` x" in json.loads(prompt)[1]["content"][1]["text"]
