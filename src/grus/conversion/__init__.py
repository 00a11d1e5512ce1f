"""Converting GRUs: what the converters ``grus.torch``, ``grus.keras`` ... share."""

from grus.conversion.conventions import CONVENTIONS, Convention
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report

__all__ = ["CONVENTIONS", "Convention", "ConversionError", "Report"]
