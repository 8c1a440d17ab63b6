"""How a task learns. Knows no gene."""
