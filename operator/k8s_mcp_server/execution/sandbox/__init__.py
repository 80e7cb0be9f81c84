"""The kernel's confinement of each process: Landlock, seccomp and no_new_privs, applied before it is started."""
