"""The command line's commands: what they take, and which stage they call."""
