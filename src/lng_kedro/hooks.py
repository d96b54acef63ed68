"""Checks before a run: what is missing is said in one sentence, before long work starts."""

import json
import logging
import shlex
from collections.abc import Generator, Iterable
from errno import ENOSPC
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from lng_kedro.compute import ComputeStopped
from lng_kedro.detectors.quiet import check_weights
from lng_kedro.detectors.train import work_folder
from lng_kedro.garbage import search_as_usual
from lng_kedro.inspection.engine import InspectionStopped
from lng_kedro.inspection.params import InProcessParams
from lng_kedro.inspection.tables import told
from lng_kedro.params import as_option, hint
from lng_kedro.preflight import unused_datasets, wrong_configuration
from lng_kedro.processes import rank, world_size
from lng_kedro.quarantine import DataError
from lng_kedro.tracking import register_adapter
from lng_kedro.training.run import TrainingStopped, forget_finished
from lng_kedro.vlm.adapter import WEIGHTS, stored_dialogue
from lng_kedro.vlm.answers import EvaluationStopped, forget_answers
from lng_kedro.vlm.backend import INSTALL_UNSLOTH, choose_backend
from lng_kedro.vlm.constraint import missing_means
from lng_kedro.vlm.fits import WrongAdapter

logger = logging.getLogger(__name__)

STAGES = {"params:sft_training", "params:grpo_training"}
"""Parameters of the training stages."""

BASELINES = "params:baselines"
"""Parameters of the detectors."""


class PreflightHooks:
    """Stops a run that cannot succeed. Kedro prints a `ClickException` without a traceback."""

    # First, so that no MLflow store is made for what does not start.
    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Checks every parameter of every pipeline."""
        assert isinstance(context.config_loader, OmegaConfigLoader)  # noqa: S101  as the settings leave it
        _refuse(wrong_configuration(context.config_loader))

    @hook_impl(tryfirst=True)
    def after_catalog_created(self, catalog: DataCatalog, conf_catalog: dict[str, Any]) -> None:
        """Checks that every entry of the catalog is used."""
        _refuse(unused_datasets(conf_catalog, catalog.config_resolver))

    # First, so that no MLflow run is opened for what does not start.
    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Checks tags, inputs, installed extras and the GPU."""
        problem = (
            _unknown_tag(run_params)
            or _too_many_processes(pipeline, run_params)
            or _missing_input(pipeline, catalog, run_params)
            or _missing_means(pipeline, catalog, run_params)
            or _missing_for_inspection(pipeline, catalog)
        )
        _refuse([problem] if problem else [])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise click.ClickException("\n".join(problems))


class TrainingHooks:
    """What a training run needs of Kedro: going on in its MLflow run, and one writer."""

    UNFINISHED = "unfinished_command"
    """Tag of an MLflow run: fingerprint of its command, until it has finished."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keeps the context, in which kedro-mlflow keeps its configuration."""
        self._context = context

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> Generator[None, None, None]:
        """Finds the MLflow run of the same command that was cut off, if there is one."""
        if not pipeline.only_nodes_with_tags("train").nodes:
            return (yield)
        if rank():
            for name in pipeline.all_outputs():
                catalog[name] = MemoryDataset()  # the first process writes
            return (yield)
        import mlflow

        command = _fingerprint(run_params, pipeline, catalog)
        mlflow_config = self._context.mlflow  # type: ignore[attr-defined]  # kedro-mlflow puts it there
        experiment = mlflow_config.tracking.experiment.name
        found = mlflow.search_runs(
            experiment_names=[experiment],
            filter_string=f"tags.{self.UNFINISHED} = '{command}'",
            output_format="list",
        )
        if found:
            mlflow_config.tracking.run.id = found[0].info.run_id
        result = yield
        if mlflow.active_run():
            mlflow.set_tag(self.UNFINISHED, command)
        return result

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Makes a stored adapter a version of a registered model."""
        if dataset_name.endswith("_adapter"):
            register_adapter(dataset_name)

    # First, while kedro-mlflow's run is open.
    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """The same command, given again, starts anew."""
        if rank() or not pipeline.only_nodes_with_tags("train").nodes:
            return
        import mlflow

        if mlflow.active_run():
            mlflow.delete_tag(self.UNFINISHED)
        for node in pipeline.only_nodes_with_tags("train").nodes:
            if {*STAGES, BASELINES} & set(node.inputs):
                forget_finished(_work_folder(node, catalog))


def _work_folder(node: Node, catalog: CatalogProtocol[Any, Any]) -> Path:
    """Where the checkpoints of a training node lie."""
    given = {name.partition(".")[0]: catalog.load(name) for name in node.inputs if name.startswith("params:")}
    if BASELINES in given:
        return work_folder(given[BASELINES], given["params:detectors"], given["params:targets"])
    (params,) = (given[name] for name in STAGES & given.keys())
    return Path(params.work_dir)


class StartHooks:
    """A run that has started searches for garbage."""

    # Last, when all is imported.
    @hook_impl(trylast=True)
    def before_pipeline_run(self) -> None:
        """Not in what was imported."""
        search_as_usual()


class StopHooks:
    """A run that ended early says why, without a traceback."""

    # Last, after kedro-mlflow has closed its run.
    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Kedro prints a `ClickException` as one sentence."""
        stopped = TrainingStopped | EvaluationStopped | InspectionStopped | ComputeStopped
        if isinstance(error, stopped | WrongAdapter | DataError):
            raise click.ClickException(str(error)) from error
        cause: BaseException | None = error
        while cause:
            if isinstance(cause, OSError) and cause.errno == ENOSPC:
                said = "The disk is full. Make room; the same command goes on with what is finished."
                raise click.ClickException(f"{said} {error}") from error
            cause = cause.__cause__ or cause.__context__


class ProgressHooks:
    """Which node runs; Kedro's own lines, several a node and dataset, are for the log file."""

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """One line a node."""
        logger.info("Node %s", node.name)


class ReportingHooks:
    """What a run found is said last."""

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Prints where the data page is, what was inspected, the filled rows of Table III and the page."""
        if "data_page" in pipeline.all_outputs():
            click.echo(f"What became of the data: {catalog['data_page']._filepath}")
        if "merged_model_version" in pipeline.all_outputs():
            version = catalog.load("merged_model_version")
            click.echo(f"The merged model: {catalog['merged_model_version']._filepath.with_name('merged')}")
            click.echo(f"In MLflow: models:/{version['name']}/{version['version']}")
        if "reports_summary" in pipeline.all_outputs():
            click.echo(told(json.loads(catalog.load("reports_summary"))))
            click.echo(f"All of it: {catalog['reports_summary']._filepath.parent}")
        if not {"table_3", "report_page"} <= pipeline.all_outputs():
            return
        table = catalog.load("table_3")
        filled = table[(table["figures"] == "ours") & (table["to fill"] == "")]
        click.echo(filled[["model", "mAP@50", "F1 label"]].to_string(index=False))
        click.echo(f"All of it: {catalog['report_page']._filepath}")


class EvaluationHooks:
    """What an evaluation keeps to go on, until its predictions are stored."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """The same command, given again, starts anew."""
        for name in pipeline.only_nodes_with_tags("predict").inputs():
            if name.startswith("params:stages."):
                folder = catalog.load("params:evaluation").work_dir / catalog.load(name).name
                forget_answers(folder)


def _fingerprint(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> str:
    """Of all that a command says: its nodes, and the values of their parameters."""
    names = sorted(name for name in pipeline.inputs() if name.startswith("params:"))
    said = [
        str(run_params.get("env")),
        str(run_params.get("runtime_params")),
        *(n.name for n in pipeline.nodes),
    ]
    return sha256(repr([*said, *(catalog.load(name) for name in names)]).encode()).hexdigest()


def _unknown_tag(run_params: dict[str, Any]) -> str | None:
    known = {tag for pipeline in pipelines.values() for node in pipeline.nodes for tag in node.tags}
    for tag in run_params.get("tags") or ():
        if tag not in known:  # Kedro takes the others, and forgets it
            return f"--tags: there is no tag '{tag}': {hint(tag, known)}"
    return None


def _too_many_processes(pipeline: Pipeline, run_params: dict[str, Any]) -> str | None:
    alone = len(pipeline.nodes) == 1 and pipeline.only_nodes_with_tags("train").nodes
    if world_size() > 1 and (not alone or BASELINES in pipeline.inputs()):
        stage = _torchrun(world_size(), ["sft_training"], run_params)
        return (
            f"{world_size()} processes run one training stage and nothing else: `{stage}`, or grpo_training."
        )
    return None


def _torchrun(processes: int, names: Iterable[str], run_params: dict[str, Any]) -> str:
    command = _command(names, run_params)
    return f"torchrun --nproc-per-node {processes} --shutdown-timeout 600 -m {command}"


def _missing_input(
    pipeline: Pipeline, catalog: CatalogProtocol[Any, Any], run_params: dict[str, Any]
) -> str | None:
    for name in sorted(pipeline.inputs()):
        if name.startswith("params:") or catalog.exists(name):
            continue
        if said := getattr(catalog[name], "missing", None):
            return str(said)
        table = name.partition("@")[0]
        makers = [
            n
            for n, p in pipelines.items()
            if n != "__default__" and table in {output.partition("@")[0] for output in p.all_outputs()}
        ]
        if makers:
            return f"'{table}' does not exist yet: run `{_command(makers[:1], run_params)}` first."
    return None


def _command(pipeline_names: Iterable[str], run_params: dict[str, Any]) -> str:
    """As a shell takes it: other pipelines in the environment and with the parameters of this run."""
    env = f" --env {shlex.quote(run_params['env'])}" if run_params.get("env") else ""
    chosen = ",".join(pipeline_names)
    return f"kedro run --pipelines {chosen}{env}{as_option(run_params.get('runtime_params') or {})}"


def _missing_means(
    pipeline: Pipeline, catalog: CatalogProtocol[Any, Any], run_params: dict[str, Any]
) -> str | None:
    exports = any("export" in node.tags for node in pipeline.nodes)
    if exports and not (find_spec("torch") and find_spec("peft")):
        return "An export needs the extra `train`: pip install -e '.[train]'"
    if exports and catalog.load("adapter_in_use") is None:
        return "An export merges an adapter into its base, and --params adapter=null names none."
    if not any(node.tags & {"train", "predict"} for node in pipeline.nodes):
        return None
    if BASELINES in pipeline.inputs():
        # The detectors' pipeline, which is run alone.
        return _missing_for_detectors(pipeline, catalog)
    if not (find_spec("torch") and find_spec("trl")):
        return "Training and evaluation need the extra `train`: pip install -e '.[train]'"
    if "params:vlm" not in pipeline.inputs():
        return None
    answers = pipeline.only_nodes_with_tags("predict").nodes
    if answers and catalog.load("params:evaluation").constrained and (missing := missing_means()):
        return f"{missing}; without it: --params evaluation.constrained=false"
    vlm = catalog.load("params:vlm")
    try:
        choose_backend(vlm.spec)
        for name in sorted(pipeline.inputs() & STAGES):
            params = catalog.load(name)
            params.micro_batches(vlm.spec)
            few_bits = "8bit" in params.optimizer or vlm.spec.precision == "4bit"
            if few_bits and not find_spec("bitsandbytes"):
                return f"Numbers of 4 and 8 bits need bitsandbytes: {INSTALL_UNSLOTH}"
    except ValueError as error:
        return f"Model '{vlm.model}': {error}"
    if STAGES & pipeline.inputs() and vlm.spec.device == "cuda" and world_size() == 1:
        return _one_gpu(run_params)
    return None


def _missing_for_detectors(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> str | None:
    if not (find_spec("ultralytics") and find_spec("safetensors")):
        return "The detectors need the extra `baselines` (AGPL-3.0): pip install -e '.[baselines]'"
    import torch

    params = catalog.load(BASELINES)
    if params.device == "cuda" and not torch.cuda.is_available():
        return (
            "The detectors need a CUDA GPU, and PyTorch sees none here; on a CPU: "
            "--params baselines.device=cpu,baselines.bf16=false"
        )
    for name in sorted(pipeline.only_nodes_with_tags("train").inputs()):
        if name.startswith("params:detectors."):
            try:
                check_weights(catalog.load(name).weights, params.work_dir)
            except TrainingStopped as error:
                return f"{error}: --params {name.removeprefix('params:')}.weights=PATH"
    return None


def _missing_for_inspection(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> str | None:
    if "params:inspection" not in pipeline.inputs():
        return None
    params, adapter = catalog.load("params:inspection"), catalog.load("adapter_in_use")
    in_process = isinstance(params.engine, InProcessParams)
    packages, extras = (
        (["torch", "transformers", "peft"], "train,serve") if in_process else (["openai"], "client")
    )
    if absent := [name for name in packages if not find_spec(name)]:
        return f"Inspection needs {', '.join(absent)}: pip install -c constraints.txt -e '.[{extras}]'"
    if in_process and params.constrained and (missing := missing_means()):
        return f"{missing}; without it: --params inspection.constrained=false"
    if in_process and adapter and not (adapter / WEIGHTS).is_file():
        return f"{adapter} holds no adapter; what says how a model is asked suffices for a server's alone"
    vlm = catalog.load("params:vlm")
    try:
        if adapter:
            stored_dialogue(adapter)
        if in_process:
            choose_backend(vlm.spec)
    except ValueError as error:
        return f"Model '{vlm.model}': {error}"
    return None


def _one_gpu(run_params: dict[str, Any]) -> str | None:
    import torch

    if (count := torch.cuda.device_count()) > 1:
        return (
            f"PyTorch sees {count} GPUs, and a single process would divide each batch among them. Use one "
            "with CUDA_VISIBLE_DEVICES=0, or all with "
            f"`{_torchrun(count, run_params['pipeline_names'] or [], run_params)}`."
        )
    return None
