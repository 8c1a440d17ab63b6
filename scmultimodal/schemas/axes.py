"""The glossary of axis words used in every array annotation.

| word         | meaning                                                          |
|--------------|------------------------------------------------------------------|
| cells        | cells of a batch or of a dataset                                  |
| genes        | features of the vocabulary, in its order (RNA and gene-level ATAC)|
| peaks        | ATAC peaks of one dataset                                         |
| tokens       | positions of the encoder's input: genes, or a cell's non-zero ones|
| dim          | width of the residual stream                                      |
| heads        | attention heads                                                   |
| key_size     | width of one attention head                                       |
| features     | random features of FAVOR+                                         |
| bins         | value bins                                                        |
| classes      | cell types                                                        |
| layers       | stacked encoder layers                                            |
| devices      | the leading axis that `jax.pmap` maps over                        |
| nonzeros     | stored entries of a sparse matrix                                 |
"""

DEVICES = "devices"
"""Name of the axis over which gradients are summed (`jax.pmap(axis_name=…)`)."""
