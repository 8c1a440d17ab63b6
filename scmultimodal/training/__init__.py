"""How a task learns. Knows no gene.

`loop.fit` trains, `validation.evaluate` judges. Below them: `step` is the update,
`parallel` runs it on all devices, `optimizers` says what moves and `spikes` what is
skipped, `checkpoints` keeps it (the only user of Orbax), `run_folder` lays it on disk
beside `metrics`, which `tensorboard` may repeat. `fingerprint` tells what a batch held.
`hosts` are the processes of one training: they meet in `meeting`, and `connection`
watches them.
"""
