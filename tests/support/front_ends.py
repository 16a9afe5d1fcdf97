"""The front ends of ComfyUI that browser tests run in, by the names in the tests' identifiers."""

HOSTS = "the host's front end"
NEWEST = "the newest front end"
