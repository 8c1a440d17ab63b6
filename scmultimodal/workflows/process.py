"""What every command sets for its process, once, before it computes."""

import warnings


def prepare() -> None:
    """Keeps compiled programs between runs, and the terminal free of noise.

    A cache of compiled programs that the user has named is left as it is.
    """
    import jax

    warnings.filterwarnings("ignore", category=FutureWarning)
    # Duplicate names end in one line of ours.
    warnings.filterwarnings("ignore", message=".*names are not unique")
    if jax.config.jax_compilation_cache_dir is None:
        import pooch

        folder = pooch.os_cache("scmultimodal") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
