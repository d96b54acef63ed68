"""A remedy for photos that no candidate gets right: the true answer joins their group.

The paper names the defect (section II.C): where every candidate of a hard sample is wrong, a group teaches
little. Importing this module imports trl, which Unsloth must be imported before.
"""

from typing import Any

import torch
from trl import GRPOTrainer

from lng_kedro.vlm.generate import with_photo


class TruthInjectingTrainer(GRPOTrainer):
    """GRPO in which the last candidate of each group is the true answer; the others are the policy's own.

    The policy's own candidates are compared with each other, as without it: the truth pushes none of them
    down, and is not in the rewards that are logged. The truth's advantage is how far its reward is above the
    mean of theirs (logged as ``shortfall``), scaled by the spread of all of them as `scale_rewards` says; it
    moves nothing where they are as good.

    The dataset has the column ``answer``: the true answer, as the model should write it.
    """

    def __init__(self, **arguments: Any) -> None:
        """Takes the keyword arguments of `GRPOTrainer`.

        Raises:
            ValueError: a true answer is longer than max_completion_length.
        """
        super().__init__(**arguments)
        prompt = with_photo(self.train_dataset[0]["prompt"])
        self._truths = {answer: self._tokens(prompt, answer) for answer in set(self.train_dataset["answer"])}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        truths = slice(self.num_generations - 1, None, self.num_generations)
        self._answers = [row["answer"] for row in inputs[truths]]
        output = super()._generate_and_score_completions(inputs)
        output["advantages"][truths] = self._truth_advantages
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        size = self.num_generations
        own = [prompt for i, prompt in enumerate(prompts, start=1) if i % size]
        prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images = (
            super()._generate(own)
        )
        for group, answer in enumerate(self._answers):
            place = (group + 1) * size - 1
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
        rewards[self.num_generations - 1 :: self.num_generations] = torch.nan
        return rewards

    def _tokens(self, prompt: list[Any], answer: str) -> list[int]:
        """An answer behind the prompt, up to the token that ends the model's turn."""
        turn = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        template = self.processing_class.apply_chat_template
        asked = template(prompt, tokenize=False, add_generation_prompt=True)
        whole = template([*prompt, turn], tokenize=False)
        end = whole.rindex(answer) + len(answer)
        ids, after = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (whole[len(asked) : end], whole[end:])
        )
        # A template that closes the turn with no such token (LLaVA's) needs the tokenizer's own.
        ids.append(
            next((token for token in after if token in self.eos_token_ids), self._tokenizer.eos_token_id)
        )
        if len(ids) > self.args.max_completion_length:
            raise ValueError(
                f"grpo_training.max_completion_length is {self.args.max_completion_length}, but the true "
                f"answer of a photo has {len(ids)} tokens; raise it: {answer[:200]}"
            )
        return ids  # type: ignore[no-any-return]
