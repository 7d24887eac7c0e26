"""Fit policies to measurements, choose operating points, prove bounds: `ee-ref calibrate`."""

from .calibrator import CHOSEN_FROM, POINTS, PROVED_FROM, Calibrator
from .points import Target

__all__ = ["CHOSEN_FROM", "Calibrator", "POINTS", "PROVED_FROM", "Target"]
