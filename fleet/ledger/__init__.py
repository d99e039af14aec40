"""What we wished for, what we asked for, what we got and what it cost. The one memory that must not be lost."""
