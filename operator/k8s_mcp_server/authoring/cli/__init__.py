"""The commands `policy …` and `grant`: reads the words of the command line and prints the answers.

Exit codes: 0 done, 1 a check failed, 2 the command line or a file cannot be used.
"""
