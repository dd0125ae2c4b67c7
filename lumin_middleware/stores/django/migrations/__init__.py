"""What does the table of records look like, and what did it look like before? Django's migrations."""
