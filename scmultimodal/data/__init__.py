"""Prepared datasets on disk, sampling and batches."""
