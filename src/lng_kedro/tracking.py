"""What the training stages tell MLflow beside kedro-mlflow's own records."""

from collections.abc import Callable

from lng_kedro.training.params import TrainingParams


def log_stage(stage: str, params: TrainingParams) -> Callable[[dict[str, float], int], None]:
    """Logs a stage's parameters into the active run, and returns what logs its steps.

    Args:
        stage: prefix of every name, since the stages of a whole run share one MLflow run.
        params: of the stage, Table I among them.
    """
    import mlflow

    flat = {**params.model_dump(mode="json"), **{f"lora_{k}": v for k, v in params.lora.model_dump().items()}}
    mlflow.log_params({f"{stage}.{name}": value for name, value in flat.items() if name != "lora"})

    def log(values: dict[str, float], step: int) -> None:
        mlflow.log_metrics({f"{stage}/{name}": value for name, value in values.items()}, step=step)

    return log
