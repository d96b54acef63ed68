"""Predictions, checked by the catalog whenever they are saved or loaded."""

import pandera.pandas as pa
from pandera.typing.pandas import Series


class Predictions(pa.DataFrameModel):
    """One row a test photo: what a stage said of it.

    `objects` is the JSON text of the findings in the processed frame, each with its `score`; the hashes are
    of the adapter (of nothing, for a bare model) or detector, of the test photos and of the report schema.
    `constrained` says whether nothing but a report could be written; earlier versions knew no such thing.
    """

    photo_id: Series[str] = pa.Field(unique=True)
    text: Series[str]
    objects: Series[str]
    valid_json: Series[bool]
    schema_true: Series[bool]
    n_tokens: Series[int] = pa.Field(ge=0)
    finished: Series[bool]
    weights_sha256: Series[str]
    photos_sha256: Series[str]
    taxonomy_sha256: Series[str]
    constrained: Series[bool] = pa.Field(default=False)

    class Config:  # noqa: D106
        strict = True
        add_missing_columns = True
        coerce = True  # an empty column has no type of its own
