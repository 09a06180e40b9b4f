"""One file for each recurrence."""
