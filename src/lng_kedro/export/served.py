"""A merged model as MLflow serves it: photos in, reports out. MLflow runs this file when it loads one."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class Inspector(PythonModel):
    """Reports about photos, the same as those of the inspection pipeline."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the merged model; `model_config` says on which device, and how photos are asked about."""
        raise NotImplementedError

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
        raise NotImplementedError


set_model(Inspector())
