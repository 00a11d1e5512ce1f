"""Pictures of what a model does."""

from grus.report.history import plot_history

__all__ = ["plot_history"]
