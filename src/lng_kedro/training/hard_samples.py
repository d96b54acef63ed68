"""A remedy for photos whose candidates are all as good as each other: their group teaches nothing.

The paper names the defect (section II.C): where every candidate of a hard sample is wrong, training stalls.
Imports trl: import Unsloth first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer, apply_chat_template
from trl.data_utils import prepare_multimodal_messages

from lng_kedro.training.trainers import OrderedGrpoTrainer, has_spread
from lng_kedro.vlm.generate import with_photo

SPREADS = "spread_of_photos"
"""Key in the trainer's state, which checkpoints hold: photo -> spread of its own candidates when last met."""


class HardSampleTrainer(OrderedGrpoTrainer):
    """GRPO that draws groups without spread once more, and may add the truth to each group.

    A group whose candidates are all perfect is replaced by one for another photo of the data set: one met
    before, the likelier the more its candidates differed then; where there is none, it stays. For a group
    whose candidates all fail alike others are drawn for the same photo. Both happen once: at most twice the
    candidates are generated, and those that are thrown away are among the lengths that are logged.

    With `inject` the last candidate of each group is the true answer; the others are the policy's own, and
    are compared with each other, as without it: the truth pushes none of them down, and is not in the rewards
    and lengths that are logged (it is in ``kl`` and ``entropy``). The truth's advantage is how far its reward
    is above the mean of theirs, logged as ``shortfall``, over the spread of all candidates that
    `scale_rewards` names; where they are as good, it moves nothing. Over the spread of its own group
    (``group``) every photo that falls short counts nearly alike, however far it does. Groups that fail are
    not drawn again then: the truth teaches.

    The dataset has the columns ``photo_id``, and ``answer``: the true answer, as the model should write it.
    All candidates of a group must be on one process.
    """

    def __init__(self, *, inject: bool, **arguments: Any) -> None:
        """Takes the keyword arguments of `OrderedGrpoTrainer` too.

        Raises:
            ValueError: a true answer is longer than max_completion_length.
        """
        super().__init__(**arguments)
        texts = self.train_dataset.with_format(None)  # without opening the photos
        self._rows = {photo_id: i for i, photo_id in enumerate(texts["photo_id"])}
        self._truths: dict[str, list[int]] = {}
        # Of the truths among the candidates of a step.
        self._places = slice(self.num_generations - 1, None, self.num_generations) if inject else slice(0)
        if inject:
            prompt = with_photo(texts[0]["prompt"])
            self._truths = {answer: self._tokens(prompt, answer) for answer in set(texts["answer"])}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self._inputs = inputs
        output = super()._generate_and_score_completions(inputs)
        if self._truths:
            groups = len(inputs) // self.num_generations
            start = self.accelerator.process_index * groups
            output["advantages"][self._places] = self._truth_advantages[start : start + groups]
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        own = self._own(range(len(prompts)))
        prompt_ids, ids, tool_mask, completions, logprobs, extra, images, tool_images = super()._generate(
            [prompts[i] for i in own]
        )
        drawn = list(zip(prompt_ids, ids, completions, images, strict=True))
        candidates = self._with_truths(dict(zip(own, drawn, strict=True)), range(len(prompts)))
        _, ids, completions, _ = map(list, zip(*candidates, strict=True))
        groups = self._without_spread(prompts, completions, ids)
        redrawn = [g * self.num_generations + i for g in groups for i in range(self.num_generations)]
        new = self._with_truths(self._draw(self._own(redrawn), prompts), redrawn)
        for place, candidate in zip(redrawn, new, strict=True):
            candidates[place] = candidate
        prompt_ids, ids, completions, images = map(list, zip(*candidates, strict=True))
        return prompt_ids, ids, tool_mask, completions, logprobs, extra, images, tool_images

    def _own(self, places: Sequence[int]) -> list[int]:
        """Those of the places whose candidates the policy writes."""
        truths = range(len(self._inputs))[self._places]
        return [place for place in places if place not in truths]

    def _with_truths(self, drawn: dict[int, Any], places: Sequence[int]) -> list[Any]:
        """Candidates of all the places: (prompt's ids, ids, completion, photos) each."""
        candidates = []
        for place in places:
            if place in drawn:
                candidates.append(drawn[place])
            else:
                answer = self._inputs[place]["answer"]
                prompt_ids, _, _, images = candidates[-1]
                said = [{"role": "assistant", "content": answer}]
                candidates.append((prompt_ids, self._truths[answer], said, images))
        return candidates

    def _without_spread(
        self, prompts: list[Any], completions: Sequence[Any], ids: Sequence[Any]
    ) -> list[int]:
        """Groups of this process that are drawn again; some get another photo, in place."""
        rewards = GRPOTrainer._calculate_rewards(self, self._inputs, prompts, completions, ids)
        totals = self._own_totals(rewards)
        self._note_spreads(totals)
        groups = len(self._inputs) // self.num_generations
        start = self.accelerator.process_index * groups
        here = totals[start : start + groups]
        dull = ~has_spread(here)
        perfect = here.min(dim=1).values > self.reward_weights.sum() - 1e-4
        redrawn = self._replace_photos((dull & perfect).nonzero().flatten().tolist(), prompts)
        if not self._truths:
            redrawn += (dull & ~perfect).nonzero().flatten().tolist()
        share = self.accelerator.gather(torch.tensor([len(redrawn) / groups], device=totals.device))
        self._metrics["train"]["redrawn"].append(share.mean().item())
        return redrawn

    def _own_totals(self, rewards: Any) -> Any:
        """Weighted rewards of the policy's own candidates, a row a group."""
        return self._totals(rewards)[:, : self.num_generations - bool(self._truths)]

    def _note_spreads(self, own_totals: Any) -> None:
        met = gather_object([row["photo_id"] for row in self._inputs[:: self.num_generations]])
        spreads = torch.where(has_spread(own_totals), own_totals.std(dim=1, correction=0), 0.0).tolist()
        self.state.stateful_callbacks.setdefault(SPREADS, {}).update(zip(met, spreads, strict=True))

    def _replace_photos(self, groups: Sequence[int], prompts: list[Any]) -> list[int]:
        """Gives groups other photos, in place, as far as there are any; those that got one."""
        met = set(gather_object([row["photo_id"] for row in self._inputs[:: self.num_generations]]))
        known = self.state.stateful_callbacks[SPREADS].items()
        pool = [(name, spread) for name, spread in known if spread and name not in met]
        # Each process takes from a part of its own.
        rank = self.accelerator.process_index
        pool = pool[rank :: self.accelerator.num_processes]
        if not pool:
            return []
        names, weights = zip(*pool, strict=True)
        random = np.random.default_rng((self.args.seed, self.state.global_step, rank))
        count = min(len(groups), len(names))
        chosen = random.choice(names, count, replace=False, p=np.array(weights) / sum(weights))
        for group, name in zip(groups, chosen, strict=False):
            row = self.train_dataset[self._rows[name]]
            for place in range(group * self.num_generations, (group + 1) * self.num_generations):
                self._inputs[place] = row
                prompts[place] = prepare_multimodal_messages(row["prompt"], images=row["images"])
        return list(groups[:count])

    def _draw(self, places: Sequence[int], prompts: Sequence[Any]) -> dict[int, Any]:
        """Candidates for the places; counted among the tokens of all processes."""
        drawn: dict[int, Any] = {}
        count = 0
        if places:
            prompt_ids, images, fields = self._tokenize_prompts([prompts[i] for i in places])
            ids, _ = self._generate_single_turn(prompt_ids, images, fields, self.num_generations)
            texts = self.processing_class.batch_decode(ids, skip_special_tokens=True)
            said = [[{"role": "assistant", "content": text}] for text in texts]
            drawn = dict(zip(places, zip(prompt_ids, ids, said, images, strict=True), strict=True))
            count = sum(map(len, prompt_ids)) + sum(map(len, ids))
        counts = self.accelerator.gather(torch.tensor([count], device=self.accelerator.device))
        self.state.num_input_tokens_seen += counts.sum().item()
        self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
        return drawn

    def _calculate_rewards(self, *batch: Any) -> Any:
        rewards = super()._calculate_rewards(*batch)
        self._note_spreads(self._own_totals(rewards))
        if not self._truths:
            return rewards
        totals = self._totals(rewards)
        shortfall = totals[:, -1] - totals[:, :-1].mean(dim=1)
        self._metrics["train"]["shortfall"].append(shortfall.mean().item())
        if self.scale_rewards != "none":
            spread = totals.std(dim=1) if self.scale_rewards == "group" else totals.std()
            shortfall = shortfall / (spread + 1e-4)
        self._truth_advantages = shortfall
        # The trainer leaves candidates without a reward out of means and spreads.
        rewards[self._places] = torch.nan
        return rewards

    def _tokens(self, prompt: list[Any], answer: str) -> list[int]:
        """An answer as SFT teaches it, up to the token that ends the model's turn."""
        turn = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        text = apply_chat_template({"prompt": prompt, "completion": [turn]}, self.processing_class)
        ids: list[int] = self._tokenizer(text["completion"], add_special_tokens=False)["input_ids"]
        ids = ids[: next(i for i, token in enumerate(ids) if token in self.eos_token_ids) + 1]
        if len(ids) > self.args.max_completion_length:
            raise ValueError(
                f"grpo_training.max_completion_length is {self.args.max_completion_length}, but the true "
                f"answer of a photo has {len(ids)} tokens; raise it: {answer[:200]}"
            )
        return ids
