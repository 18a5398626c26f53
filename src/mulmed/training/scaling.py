"""A scale on the loss, so that gradients in float16 neither vanish nor overflow (Micikevicius et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

#: A scale that still overflows here is not what is wrong.
LEAST = 1.0


@dataclass(slots=True)
class LossScale:
    """What the loss is multiplied by and its gradients are divided by, following ``torch.amp.GradScaler``'s rule.

    That class waits for the device once more an optimizer step; here the gradient's norm, which is read anyway, tells
    whether an update can be made. Where it cannot, the update is left out and the scale halved; after ``interval``
    updates without that, it is doubled.

    Attributes:
        value: a power of two, so that no gradient is rounded by it.
        steady: updates since it changed last.
        interval: updates after which a larger one is tried.
    """

    value: float = 2.0**16
    steady: int = 0
    interval: int = 2000

    def adapt(self, finite: bool) -> None:
        """Take in whether the gradients of an optimizer step were numbers."""
        self.steady = self.steady + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.steady == self.interval:
            self.value, self.steady = self.value * 2, 0
