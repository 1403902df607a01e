"""One run: the command line, the Brain, phases, checkpoints, loggers."""
