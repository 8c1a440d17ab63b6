"""One objective per file: configuration, forward pass, loss, metrics."""
