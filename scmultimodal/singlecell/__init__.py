"""AnnData to AnnData recipes: counts in, gene-aligned bins out."""
