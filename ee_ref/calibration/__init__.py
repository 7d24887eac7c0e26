"""Fit policies to measurements, choose operating points, prove bounds: `ee-ref calibrate`."""
