"""Converting GRUs: files into files, and what the converters ``grus.torch``, ``grus.keras`` ... share."""

from grus.conversion.conventions import CONVENTIONS, Convention
from grus.conversion.convert import Conversion, convert
from grus.conversion.errors import ConversionError
from grus.conversion.recognise import Part, Recognised, inspect
from grus.conversion.report import Report

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Conversion",
    "ConversionError",
    "Part",
    "Recognised",
    "Report",
    "convert",
    "inspect",
]
