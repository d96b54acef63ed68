"""TRL's trainers, with the order of samples given. Imports trl: import Unsloth first."""

from typing import Any

import pandas as pd
import torch
from transformers import TrainerCallback
from trl import GRPOTrainer, SFTTrainer

from lng_kedro.training.order import SimilarLengths
from lng_kedro.training.run import Tracker


class _Epochs(TrainerCallback):
    def __init__(self, order: SimilarLengths) -> None:
        self._order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The trainer tells a sampler of the epoch, but not where several processes go on in its middle.
        self._order.set_epoch(int(state.epoch or 0))


class _Ordered:
    # Of the trainer that it is mixed into.
    model: Any
    add_callback: Any

    def __init__(self, *, order: SimilarLengths, **arguments: Any) -> None:
        self._order = order
        super().__init__(**arguments)
        self.add_callback(_Epochs(order))
        for parameter in self.model.parameters():
            # On a model in 4 bits TRL makes them bfloat16, too coarse for steps as small as Table I's.
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def _get_train_sampler(self, dataset: Any = None) -> SimilarLengths:
        return self._order


class OrderedSftTrainer(_Ordered, SFTTrainer):
    """SFT, its samples in the given order; each token of a step's answers counts alike."""

    def __init__(self, **arguments: Any) -> None:
        """Takes the keyword arguments of `SFTTrainer` too."""
        super().__init__(**arguments)
        # TRL's loss divides by the tokens of the whole step. Some families say that theirs does not, and get
        # the mean of the means of each part of the step, which depends on how it is divided.
        self.model_accepts_loss_kwargs = True


class OrderedGrpoTrainer(_Ordered, GRPOTrainer):
    """GRPO, its samples in the given order.

    Logs which share of groups has no spread of rewards, and shows the candidates of one photo whenever it
    writes a checkpoint. The dataset has the column ``photo_id``.
    """

    def __init__(self, *, tracker: Tracker, **arguments: Any) -> None:
        """Takes the keyword arguments of `GRPOTrainer` too."""
        super().__init__(**arguments)
        self._tracker = tracker

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, ids: Any) -> Any:
        rewards = super()._calculate_rewards(inputs, prompts, completions, ids)
        without = ~has_spread(self._totals(rewards))
        # The trainer's own figure is about groups only where advantages are scaled by group.
        self._metrics["train"]["zero_spread"].append(without.float().mean().item())
        step = self.state.global_step + 1
        if self.accelerator.is_main_process and step % self.args.save_steps == 0:
            photos = [row["photo_id"] for row in inputs[: self.num_generations]]
            # Messages; under Unsloth, texts.
            texts = [c if isinstance(c, str) else c[0]["content"] for c in completions][: len(photos)]
            shown = pd.DataFrame({"step": step, "photo": photos, "completion": texts})
            shown["reward"] = self._totals(rewards)[0].tolist()
            shown[self.reward_func_names] = rewards[: self.num_generations].tolist()
            self._tracker.candidates(shown)
        return rewards

    def _totals(self, rewards: Any) -> Any:
        """Weighted rewards, a row a group of candidates."""
        return (rewards @ self.reward_weights.to(rewards.device)).view(-1, self.num_generations)


def has_spread(totals: Any) -> Any:
    """Of each group of rewards: whether its candidates differ, so that it teaches something.

    Args:
        totals: (groups, candidates) weighted rewards.
    """
    return (totals.max(dim=1).values - totals.min(dim=1).values) > torch.finfo(totals.dtype).eps * 100
