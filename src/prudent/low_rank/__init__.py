"""Layers replaced by two thinner ones: foldings -> errors of every rank -> ranks within a budget -> smaller modules."""
