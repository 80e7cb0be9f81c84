"""What a policy means: pure values and functions, no I/O and no service library."""
