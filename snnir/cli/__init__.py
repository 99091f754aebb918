"""The command line: one file a command, and the tables and pictures that commands print."""
