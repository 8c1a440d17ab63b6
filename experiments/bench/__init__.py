"""How fast we are, measured against what others run.

    make bench                                          # headline, up to 20 minutes
    make bench-all                                      # the sweeps, about an hour
    python -m experiments.bench.training_step --help
    python -m experiments.bench.sweeps --help
    python -m experiments.bench.preprocessing --help
    python -m experiments.bench.loading --help

`training_step` times one step of pre-training and what others would run in its place,
`sweeps` the same against tokens, cells, layers, narrow heads, chunks and devices,
`kmer_tokenizer` the tokenizer of sequences, `preprocessing` counts of peaks into values
of genes, `loading` random cells into batches, `peak_tokens` a step on open peaks
against how many there are.

Each contestant (`contestants/`) is a process of its own (`child`), and they take turns
(`turns`): while one works, the others wait for a line on a pipe. So a noisy machine
disturbs all of them alike, no thread pool steals from another, and each has its own
peak of memory. Only ratios within one table count.
"""
