"""`ser` and its commands, a file each: the options, and what is done with them."""
