"""This project's own commands. Kedro looks for the group `cli` here and adds it to its commands."""

import logging
import signal
from importlib.util import find_spec
from typing import Any

import click
from kedro.framework.cli.utils import _split_params, env_option
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from lng_kedro.garbage import search_less

PREDICT_HINTS = "Add type hints to the `predict` method"

ASSUMED = """
GiB at the moment of a stage that takes most. Assumed are plain transformers (Unsloth should take less),
fused attention, prompts of {characters} characters a token, answers of grpo_training.max_completion_length
tokens in both stages, {context} GiB for CUDA, and {fragmentation:.0%} of activations, logits and cache
lost to fragmentation. A 24 GB card has some 23.6 GiB: nvidia-smi tells."""


def quieten() -> None:
    """Drops a warning about a class of kedro-mlflow's. Kedro calls it first (entry point `kedro.init`).

    A command begins and ends quickly, too; a run searches for garbage when it has started (`StartHooks`).
    """
    search_less()
    # MLflow sets filters of its own where it warns: it can only be dropped where Kedro logs warnings.
    logging.getLogger("py.warnings").addFilter(lambda said: PREDICT_HINTS not in said.getMessage())


@click.group(name="lng_kedro")
def cli() -> None:
    """Commands of lng_kedro."""


@cli.command()
@env_option
@click.option(
    "--params",
    type=click.UNPROCESSED,
    default="",
    callback=_split_params,
    help="As of kedro run: where reports and data are.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.pass_obj
def review(metadata: ProjectMetadata, env: str | None, params: dict[str, Any], port: int) -> None:
    """Show the reports of an inspection in Label Studio, the worst first, to be corrected."""
    from lng_kedro.files import held
    from lng_kedro.inspection.review import offer
    from lng_kedro.inspection.studio import StudioError, running

    session = KedroSession.create(project_path=metadata.project_path, env=env, runtime_params=params)
    catalog = session.load_context().catalog
    source, reports = catalog["corrections"], catalog.load("reports")
    if not (reports.path.is_file() and catalog.exists("reports_taxonomy")):
        raise click.ClickException(f"No reports at {reports.path}: run `kedro run --pipelines inspection`.")
    taxonomy = catalog.load("reports_taxonomy")
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job would ignore the first
        signal.signal(number, signal.default_int_handler)
    busy = StudioError(f"Another review is open: its Label Studio keeps everything in {source.folder.root}.")
    source.folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        click.echo("Label Studio starts, the first time within a minute.")
        with (
            held(source.folder.root / "review.lock", busy),
            running(source.folder, source.command, port) as studio,
        ):
            project, said = offer(studio, source.folder, reports, reports.photos, taxonomy)
            click.echo(f"{said}\nOpen {studio.url}/projects/{project}/data as {studio.login.user},")
            click.echo(f"password {studio.login.password}, and begin with 'Label All Tasks'.")
            click.echo("Ctrl-C ends it. `kedro run --pipelines reviewed` takes what was submitted.")
            studio.process.wait()
            raise StudioError(f"Label Studio has ended by itself; {source.folder.log} says why.")
    except StudioError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Label Studio has ended; what was submitted is stored.")


@cli.command()
@env_option
@click.option(
    "--gpu-gib",
    type=click.FloatRange(min=0, min_open=True),
    default=24.0,
    show_default=True,
    help="Memory of one GPU in GiB.",
)
@click.pass_obj
def memory(metadata: ProjectMetadata, env: str | None, gpu_gib: float) -> None:
    """Predict the GPU memory of both training stages of every model."""
    if not (find_spec("torch") and find_spec("peft")):
        raise click.ClickException("Predictions need the extra `train`: pip install -e '.[train]'")
    click.echo("Models are built without their weights and measured, half a minute for all.", err=True)
    from lng_kedro.training.memory import CHARACTERS_PER_TOKEN, CONTEXT, FRAGMENTATION, GIB, memory_table

    params = KedroSession.create(project_path=metadata.project_path, env=env).load_context().params
    grpo = params["grpo_training"]
    stages, longest = [params["sft_training"], grpo], grpo.max_completion_length
    try:
        table = memory_table(params["vlm"], stages, params["taxonomy"], gpu_gib * GIB, longest)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(table.drop(columns="advice").to_string(index=False, float_format="{:.2f}".format))
    for row in table[~table["fits"]].itertuples():
        click.echo(f"\n{row.model}, {row.stage}: {row.advice}.")
    figures = {"characters": CHARACTERS_PER_TOKEN, "context": CONTEXT / GIB, "fragmentation": FRAGMENTATION}
    click.echo(ASSUMED.format(**figures))
