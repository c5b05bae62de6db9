"""From a record to the back end: the accounts of what was sent and what was not, and the way out at exit."""
