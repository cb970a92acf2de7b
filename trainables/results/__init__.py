"""What a trial reports: its validations, its columns, how it failed."""
