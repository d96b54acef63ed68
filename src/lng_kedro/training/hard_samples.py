"""A remedy for groups in which nothing is right: the true answer joins them.

The paper names the defect (section II.C): where all candidates of a hard sample are wrong, a group teaches
little. Importing this module imports trl, which Unsloth must be imported before.
"""

from typing import Any

from trl import GRPOTrainer


class TruthInjectingTrainer(GRPOTrainer):
    """GRPO in which the last candidate of each group is the true answer; the others are the policy's own.

    The dataset has the column ``answer``: the true answer, as the model should write it. It is rewarded by
    the same functions and counts as if the policy had said it. Where another candidate earns as much, it
    moves nothing. The mean reward of the policy's own candidates is logged as ``own_reward``.
    """

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self._answers = [row["answer"] for row in inputs]
        return super()._generate_and_score_completions(inputs)

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        size = self.num_generations
        own = [prompt for i, prompt in enumerate(prompts, start=1) if i % size]
        prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images = (
            super()._generate(own)
        )
        for place in range(size - 1, len(prompts), size):
            answer = self._answers[place]
            prompt_ids.insert(place, prompt_ids[place - 1])
            images.insert(place, images[place - 1])
            completion_ids.insert(place, self._tokens(answer))
            completions.insert(place, [{"role": "assistant", "content": answer}])
        return prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images

    def _calculate_rewards(self, *batch: Any) -> Any:
        rewards = super()._calculate_rewards(*batch)
        own = (rewards @ self.reward_weights).view(-1, self.num_generations)[:, :-1]
        self._metrics["train"]["own_reward"].append(own.mean().item())
        return rewards

    def _tokens(self, answer: str) -> list[int]:
        """An answer up to the end of its turn, as the model's chat template closes it."""
        turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        text = self.processing_class.apply_chat_template(turn, tokenize=False)
        text = text[text.rindex(answer) :]
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        end = next(i for i, token in enumerate(ids) if token in self.eos_token_ids)
        return ids[: end + 1]
