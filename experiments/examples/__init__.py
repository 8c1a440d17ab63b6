"""Ten lines each: what to write to try an idea. The loop stays as it is."""
