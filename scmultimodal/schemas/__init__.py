"""Axis names, modalities, batches and errors: data without behaviour."""
