"""What tables of data_processing may hold."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandera.errors import SchemaError

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.compute import Processes
from lng_kedro.pipelines.data_processing.schemas import Manifest
from lng_kedro.taxonomy import Taxonomy
from tests.raw import KOREAN, annotation, encoded, label, write


def manifest_of(root: Path, taxonomy: Taxonomy, *annotations: Any) -> pd.DataFrame:
    """As it is after its file was written and read."""
    write(root, {"2102_12_a.jpg": b"", "2102_12_a.json": encoded(label(*annotations))})
    compute = Processes(engine="processes", workers=1)
    index_labels(AIHubFolder(root), LabelReader(taxonomy), compute)[0].to_parquet(root / "manifest.parquet")
    return pd.read_parquet(root / "manifest.parquet")


@pytest.mark.parametrize("value", ["red", None])
def test_a_new_field_of_the_taxonomy_is_a_column_of_the_manifest(
    taxonomy: Taxonomy, tmp_path: Path, value: str | None
) -> None:
    fields = {**taxonomy.model_dump()["fields"], "colour": {"optional": True}}
    more = Taxonomy(**{**taxonomy.model_dump(), "fields": fields})
    frame = manifest_of(tmp_path, more, annotation(attributes=KOREAN | {"colour": value}))
    (row,) = Manifest.validate(frame).to_dict("records")
    assert row["colour"] == value or (value is None and pd.isna(row["colour"]))
    assert row["location"] == "Inside"


def test_own_columns_of_the_manifest_are_all_there_and_right(taxonomy: Taxonomy, tmp_path: Path) -> None:
    frame = manifest_of(tmp_path, taxonomy, annotation())
    assert Manifest.validate(frame).equals(frame)
    own = frame.columns.difference([*taxonomy.fields])
    for name in own:
        with pytest.raises(SchemaError, match=name):
            Manifest.validate(frame.drop(columns=name))
    with pytest.raises(SchemaError, match="outside its photo"):
        Manifest.validate(frame.assign(x=195.0))
