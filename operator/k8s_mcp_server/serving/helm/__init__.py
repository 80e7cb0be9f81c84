"""What an operation of helm's would do, decided before it does anything."""
