"""Numbers that aren't finite: one step with them spoils a model for good, so they are looked for where they come in."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import Tensor, nn

from rgym_exp.errors import SwarmUserError

logger = logging.getLogger("rl_swarm.training")

MOST_SKIPPED_IN_A_ROW = 5
"""Steps without a finite gradient until a run ends: one may be chance, five are a model that can't be trained on."""


class NotFinite(SwarmUserError):
    """A model's weights, or all of its gradients, hold NaN or infinity; the message says what to do."""


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number in any of them is NaN or infinite."""
    # A sum over one tensor is far quicker than looking at each number, and NaN and infinity never leave a sum. But
    # large numbers may add up to infinity: then each is looked at.
    return all(bool(tensor.float().sum().isfinite()) or bool(tensor.isfinite().all()) for tensor in tensors)


def require_finite(model: nn.Module) -> None:
    """Raises NotFinite when one of the weights isn't finite: such a model is neither saved nor pushed."""
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not is_finite([weight]):
            raise NotFinite(
                f"The model's weights are no finite numbers any more ({name}), so it is neither saved nor pushed, and "
                "the run ends. The next start goes on from the last checkpoint, or from the base model without one; a "
                "lower training.learning_rate keeps this from coming again."
            )


class StepGuard:
    """Lets no gradient into the weights that isn't finite."""

    def __init__(self) -> None:
        self.skipped_in_a_row = 0
        """Steps that were skipped since the last that was made."""

    def require_sound(self, model: nn.Module) -> None:
        """Raises NotFinite when the model must not be saved: its weights aren't finite, or its gradients weren't."""
        require_finite(model)
        if self.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise NotFinite(
                f"The gradient of {self.skipped_in_a_row} steps in a row was not finite, so the model can't be trained "
                "on as it is, and the run ends without saving it. The next start goes on from the last checkpoint, or "
                "from the base model without one; lower training.learning_rate, or try training.dtype=float32."
            )

    def check(self, model: nn.Module, weights: Iterable[nn.Parameter]) -> None:
        """Look at a step's gradient; one that isn't finite is taken away, so that the step changes nothing.

        Raises:
            NotFinite: the weights themselves aren't, or too many steps in a row were skipped.
        """
        weights = list(weights)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # Its norm is what the gradient is divided by, and may be infinite where no number of it is.
        if all(bool(gradient.float().square().sum().isfinite()) for gradient in gradients):
            self.skipped_in_a_row = 0
            return
        for weight in weights:
            weight.grad = None
        self.skipped_in_a_row += 1
        self.require_sound(model)
        logger.warning(
            "The gradient of this step is not finite, so the step is skipped and the model stays as it is. If this "
            "happens often, lower training.learning_rate; after %d in a row the run ends.", MOST_SKIPPED_IN_A_ROW,
        )  # fmt: skip
