"""Which commands are they? A file each."""
