"""A merged model as MLflow serves it: photos in, reports out. MLflow runs this file when it loads one."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedModel(PythonModel):
    """Reports about photos, the same as those of the inspection pipeline."""

    def load_context(self, context: PythonModelContext) -> None:
        """Takes the merged model; `model_config` says on which device, and how photos are asked about."""
        # Of the code that is stored beside the model.
        from lng_kedro.export.in_memory import Inspector
        from lng_kedro.export.params import ExportParams

        params = ExportParams.model_validate(context.model_config)
        self._inspector = Inspector(Path(context.artifacts["merged"]), params)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One report a photo, as the JSON text of a `PhotoReport`.

        Args:
            context: of the model.
            model_input: column `photo` holds each photo's encoded bytes; `name`, which may be left out, what
                its report calls it.
            params: none.

        Returns:
            Column `report`, in the order of the photos.
        """
        photos = model_input["photo"].tolist()
        names = model_input["name"].tolist() if "name" in model_input else [None] * len(photos)
        reports = [report.model_dump_json() for report in self._inspector.reports(photos, names)]
        return pd.DataFrame({"report": pd.Series(reports, dtype=object)}, index=model_input.index)


set_model(ServedModel())
