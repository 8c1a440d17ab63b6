"""Heads: what is read off an encoder's output."""
