"""In PyTorch what ``grus train japanese-vowels`` does: the same model, optimiser, clipping, batches and epochs.

Packed sequences, because one direction must begin at each sequence's own end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from grus import GRUClassifier
from grus.datasets import Sequences


class Classifier(nn.Module):
    """GRU, the largest state over the steps, dropout, a dense layer."""

    def __init__(self, settings: GRUClassifier, features: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(
            features, settings.hidden_size, settings.num_layers, bidirectional=settings.bidirectional
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.hidden_size * (1 + settings.bidirectional), classes)

    def forward(self, sequences: list[torch.Tensor]) -> torch.Tensor:
        packed, _ = self.gru(pack_sequence(sequences, enforce_sorted=False))
        states, _ = pad_packed_sequence(packed, padding_value=-torch.inf)
        return self.head(self.dropout(states.amax(dim=0)))


class Trained:
    """A classifier after :func:`fit`."""

    def __init__(self, settings: GRUClassifier, train: Sequences, epochs: int) -> None:
        steps = np.concatenate(train.x)
        self.mean, self.scale = steps.mean(axis=0), steps.std(axis=0)
        self.classes, codes = np.unique(train.y, return_inverse=True)
        torch.manual_seed(settings.random_state)
        self.model = Classifier(settings, steps.shape[1], len(self.classes))
        optimiser = torch.optim.Adam(self.model.parameters(), settings.learning_rate)
        loss = nn.CrossEntropyLoss()
        x, y = self._tensors(train), torch.from_numpy(codes)
        self.model.train()
        for _ in range(epochs):
            for rows in _batches(len(x), settings.batch_size):
                optimiser.zero_grad()
                loss(self.model([x[row] for row in rows]), y[rows]).backward()
                clip_grad_norm_(self.model.parameters(), settings.clip_norm)
                optimiser.step()

    @torch.no_grad()
    def accuracy(self, test: Sequences) -> float:
        """The share of sequences whose class is found."""
        self.model.eval()
        found = self.model(self._tensors(test)).argmax(dim=1).numpy()
        return float((self.classes[found] == test.y).mean())

    def _tensors(self, data: Sequences) -> list[torch.Tensor]:
        return [torch.from_numpy(((x - self.mean) / self.scale).astype(np.float32)) for x in data.x]


def _batches(count: int, size: int) -> Iterator[torch.Tensor]:
    """Rows in a new order, the last batch the smaller one."""
    return iter(torch.randperm(count).split(size))
