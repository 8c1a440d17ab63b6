"""The glossary of axis words used in every array annotation.

| word         | meaning                                                          |
|--------------|------------------------------------------------------------------|
| cells        | cells of a batch or of a dataset                                  |
| genes        | features of the vocabulary, in its order (RNA and gene-level ATAC)|
| peaks        | ATAC peaks of one dataset; of a batch, those open in a cell       |
| tokens       | positions of the encoder's input: genes, a cell's non-zero ones,  |
|              | or 6-mers of DNA                                                  |
| dim          | width of the residual stream                                      |
| heads        | attention heads                                                   |
| key_size     | width of one attention head                                       |
| features     | random features of FAVOR+; measured properties of a sequence      |
| bins         | value bins                                                        |
| classes      | cell types                                                        |
| layers       | stacked encoder layers                                            |
| spans        | windows of the genome (3,000 bp), each with a few regions         |
| regions      | intervals of one span, to be ranked                               |
| sequences    | stretches of DNA, one row of tokens each                          |
| vocabulary   | all tokens of DNA; `kmers` are those of k letters                 |
| bases        | letters of DNA, each with its labels                               |
| elements     | classes of bases: genomic elements                                |
| channels     | features of a convolution                                         |
| groups       | what a split or an interval keeps together: chromosomes, regions  |
| devices      | the leading axis that `jax.pmap` maps over                        |
| nonzeros     | stored entries of a sparse matrix                                 |
"""

DEVICES = "devices"
"""Name of the axis over which gradients are summed (`jax.pmap(axis_name=…)`)."""
