"""Pictures of what a model does."""

from grus.report.gates import plot_gates
from grus.report.history import plot_history

__all__ = ["plot_gates", "plot_history"]
