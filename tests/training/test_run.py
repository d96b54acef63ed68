"""What ends a run early leaves its last checkpoint whole, and says how to go on."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lng_kedro.imaging import PhotoFolder
from lng_kedro.training.run import (
    WHOLE,
    TrainingStopped,
    check_arguments,
    forget_finished,
    last_checkpoint,
    mark_whole,
    run_folder,
)
from lng_kedro.training.sft import train_sft
from tests.training.notes import Notes
from tests.training.test_sft import sft_params, weights


@pytest.fixture
def train(samples, photos, taxonomy, vlm_params, tmp_path):
    """Four steps, two an epoch; returns the adapter's weights."""

    def train(name="work", at_step=lambda step: None, photos=photos, **changes):
        notes = Notes(at_step)
        params = sft_params(tmp_path / name, **changes)
        adapter, _ = train_sft(samples, photos, taxonomy, vlm_params, params, notes)
        return weights(adapter, tmp_path / f"{name}_adapter"), notes.steps

    return train


def run_of(work_dir: Path) -> Path:
    (folder,) = work_dir.iterdir()
    return folder


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_step_and_says_how_to_go_on(train, tmp_path, number):
    """In the middle of an epoch, where no checkpoint is due."""

    def press(step):
        if step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    wanted, _ = train("unbroken", save_steps=100)
    with pytest.raises(TrainingStopped) as stopped:
        train(at_step=press, save_steps=100)
    checkpoint = run_of(tmp_path / "work") / "checkpoint-3"
    assert str(stopped.value) == f"Interrupted. The same command goes on from step 3 ({checkpoint})."
    assert signal.getsignal(number) == before
    found, steps = train(save_steps=100)
    assert steps[0][0] == 4
    assert same(found, wanted)


def test_a_second_ctrl_c_stops_at_once(train):
    def press_twice(step):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match=r"^Interrupted in the middle of a step\. No checkpoint"):
        train(at_step=press_twice, save_steps=100)


def test_weights_that_run_away_are_not_saved(train, tmp_path):
    with pytest.raises(TrainingStopped, match="At step 3 the loss or its gradient is no finite") as stopped:
        train(learning_rate=1e30, max_grad_norm=1e30)
    # The first step's learning rate is 0, the second's is not.
    assert "goes on from step 2 (" in str(stopped.value)
    assert not (run_of(tmp_path / "work") / "checkpoint-3").exists()


@pytest.mark.parametrize("file", ["optimizer.pt", "trainer_state.json"])
def test_a_full_disk_leaves_the_last_checkpoint(train, tmp_path, file):
    """/dev/full takes no byte."""

    def fill(step):
        if step == 3:
            checkpoint = run_of(tmp_path / "work") / "checkpoint-3"
            checkpoint.mkdir()
            (checkpoint / file).symlink_to("/dev/full")

    wanted, _ = train("unbroken")
    with pytest.raises(TrainingStopped) as stopped:
        train(at_step=fill)
    assert str(stopped.value).startswith(
        f"{run_of(tmp_path / 'work')} cannot be written, is its disk full? ("
    )
    assert "The same command goes on from step 2 (" in str(stopped.value)
    found, steps = train()
    assert steps[0][0] == 3
    assert same(found, wanted)


def test_a_broken_photo_is_named_and_training_goes_on_once_it_is_whole(train, samples, photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo_id in samples["photo_id"]:
        (folder / f"{photo_id}.jpg").write_bytes(photos.path(photo_id).read_bytes())
    wanted, steps = train("unbroken", photos=PhotoFolder(folder), save_steps=1)
    # All of them break after a step; the photos of the next one are read already.
    whole = {path: path.read_bytes() for path in folder.iterdir()}

    def damage(step):
        if step == 1:
            for path, content in whole.items():
                path.write_bytes(content[: len(content) * 2 // 3])

    with pytest.raises(TrainingStopped) as stopped:
        train(at_step=damage, photos=PhotoFolder(folder))
    assert str(folder / "p") in str(stopped.value)
    assert "is no whole photo" in str(stopped.value)
    assert "goes on from step 2 (" in str(stopped.value)
    for path, content in whole.items():
        path.write_bytes(content)
    found, steps = train(photos=PhotoFolder(folder))
    assert steps[0][0] == 3
    assert same(found, wanted)


def test_an_error_of_the_program_is_not_dressed_up(train):
    def fail(step):
        raise ValueError("a defect")

    with pytest.raises(ValueError, match=r"^a defect$"):
        train(at_step=fail)


def test_a_checkpoint_that_was_cut_off_is_not_taken_and_goes(tmp_path):
    folder = run_folder(tmp_path, "a")
    for step in (9, 10, 11):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        (folder / f"checkpoint-{step}/weights").write_text("w")
    for step in (9, 10):
        mark_whole(folder / f"checkpoint-{step}")
    assert last_checkpoint(folder) == folder / "checkpoint-10"
    assert run_folder(tmp_path, "a") == folder
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    (folder / "photos").mkdir()
    assert run_folder(tmp_path, "b") != folder
    assert last_checkpoint(folder) == folder / "checkpoint-10", "another run's checkpoints are gone"
    assert not (folder / "photos").exists()
    assert last_checkpoint(run_folder(tmp_path, "b")) is None


def test_whole_says_a_file_in_the_checkpoint(tmp_path):
    mark_whole(tmp_path)
    assert (tmp_path / WHOLE).is_file()


def test_another_process_than_the_first_deletes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    cut_off = run_folder(tmp_path, "a") / "checkpoint-1"
    cut_off.mkdir(parents=True)
    run_folder(tmp_path, "a")
    assert cut_off.exists()


def test_a_run_that_has_ended_is_not_trained_further_and_goes_when_its_adapter_is_stored(train, tmp_path):
    """A part of an epoch: its last step is not the epoch's."""
    wanted, _ = train(epochs=1.5)
    found, steps = train(epochs=1.5)
    assert steps == []
    assert same(found, wanted)
    forget_finished(tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_run_that_has_not_ended_is_not_forgotten(train, tmp_path):
    def fail(step):
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        train(at_step=lambda step: fail(step) if step == 2 else None)
    forget_finished(tmp_path / "work")
    assert last_checkpoint(run_of(tmp_path / "work")).name == "checkpoint-1"


def test_what_does_not_change_the_weights_does_not_start_anew(train, tmp_path):
    """As a smaller batch on the GPU, which is advised where memory ran out."""

    def fail(step):
        if step == 3:
            raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        train(at_step=fail)
    _, steps = train(save_steps=2, logging_steps=2)
    assert steps[0][0] > 2


def test_a_value_that_the_trainer_changed_is_an_error():
    found = SimpleNamespace(beta=0.001, optim=SimpleNamespace(value="adamw_torch"), seed=3)
    check_arguments({"optim": "adamw_torch", "seed": 3}, found)
    with pytest.raises(ValueError, match=r"configuration: beta: asked for 0\.0, got 0\.001; lr: asked"):
        check_arguments({"beta": 0.0, "lr": 1.0, "seed": 3}, found)
