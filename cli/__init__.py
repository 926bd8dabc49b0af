"""What people use: commands, configuration, and the daemon that holds a mount."""
