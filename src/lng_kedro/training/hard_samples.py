"""A remedy for photos that no candidate gets right: the true answer joins their group.

The paper names the defect (section II.C): where every candidate of a hard sample is wrong, a group teaches
little. This module imports trl: import Unsloth first.
"""

from typing import Any

import torch
from trl import GRPOTrainer, apply_chat_template

from lng_kedro.vlm.generate import with_photo


class TruthInjectingTrainer(GRPOTrainer):
    """GRPO in which the last candidate of each group is the true answer; the others are the policy's own.

    The policy's own candidates are compared with each other, as without it: the truth pushes none of them
    down, and is not in the rewards and lengths that are logged (it is in ``kl`` and ``entropy``). The truth's
    advantage is how far its reward is above the mean of theirs, logged as ``shortfall``, over the spread of
    all candidates that `scale_rewards` names; where they are as good, it moves nothing. Over the spread of
    its own group (``group``) every photo that falls short counts nearly alike, however far it does.

    The dataset has the column ``answer``: the true answer, as the model should write it.
    """

    def __init__(self, **arguments: Any) -> None:
        """Takes the keyword arguments of `GRPOTrainer`.

        Raises:
            ValueError: a true answer is longer than max_completion_length.
        """
        super().__init__(**arguments)
        # Of the truths among the candidates of a step.
        self._places = slice(self.num_generations - 1, None, self.num_generations)
        texts = self.train_dataset.with_format(None)  # without opening the photos
        prompt = with_photo(texts[0]["prompt"])
        self._truths = {answer: self._tokens(prompt, answer) for answer in set(texts["answer"])}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self._answers = [row["answer"] for row in inputs[self._places]]
        output = super()._generate_and_score_completions(inputs)
        output["advantages"][self._places] = self._truth_advantages
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        own = prompts.copy()
        del own[self._places]
        prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images = (
            super()._generate(own)
        )
        places = range(len(prompts))[self._places]
        for place, answer in zip(places, self._answers, strict=True):
            prompt_ids.insert(place, prompt_ids[place - 1])
            images.insert(place, images[place - 1])
            completion_ids.insert(place, self._truths[answer])
            completions.insert(place, [{"role": "assistant", "content": answer}])
        return prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images

    def _calculate_rewards(self, *batch: Any) -> Any:
        rewards = super()._calculate_rewards(*batch)
        totals = (rewards @ self.reward_weights.to(rewards.device)).view(-1, self.num_generations)
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
        end = next((i for i, token in enumerate(ids) if token in self.eos_token_ids), None)
        # Some copies of LLaVA's template close the turn with text.
        ids = [*ids, self._tokenizer.eos_token_id] if end is None else ids[: end + 1]
        if len(ids) > self.args.max_completion_length:
            raise ValueError(
                f"grpo_training.max_completion_length is {self.args.max_completion_length}, but the true "
                f"answer of a photo has {len(ids)} tokens; raise it: {answer[:200]}"
            )
        return ids
