"""How a task learns. Knows no gene.

`loop.fit` trains, `validation.evaluate` judges. Below them: `step` is the update of
one device, `parallel` maps it over all, `optimizers` says what moves, `checkpoints`
keeps it (the only user of Orbax), `run_folder` lays it on disk beside `metrics`.
"""
