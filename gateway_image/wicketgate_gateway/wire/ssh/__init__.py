"""What SSH carries, without I/O: command lines, SFTP requests, the frames of a channel."""
