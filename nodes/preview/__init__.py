"""The frames of a run as files, events and answers for the front end."""
