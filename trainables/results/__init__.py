"""What a trial reports: its validations, the columns of its reports, its failures."""
