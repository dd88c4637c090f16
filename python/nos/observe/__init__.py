"""What lets people and machines look inside a process of nos: its log and its health."""
