"""Learning numbers, such as valence, beside or instead of classes."""

from types import SimpleNamespace

import torch

from speechbrain_ser.data.targets import numbers_of


class LearnsNumbers:
    """Of a Brain whose model has a TargetsHead: the mean of its targets' losses.

    A number's is `modules.number_criterion`, one minus its concordance by default; that of classes
    or shares, if there are any, is `modules.criterion`.
    """

    learns = ("classes", "shares", "numbers")

    def loss(self, outputs: SimpleNamespace, batch) -> torch.Tensor:
        """What compute_forward gave, and the batch -> a scalar."""
        head, losses = self.modules.model.head, []
        values = head.values(outputs.logits)  # [batch, number]
        for own, field in zip(values.T, numbers_of(self.targets), strict=True):
            losses.append(self.modules.number_criterion(own, self.wanted(batch, field)))
        if self.labels:
            logits = head.logits(outputs.logits)  # [batch, class]
            losses.append(self.modules.criterion(logits, self.wanted(batch)))
        return sum(losses) / len(losses)
