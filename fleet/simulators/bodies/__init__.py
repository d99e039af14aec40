"""What runs where a provider would run a container: nothing, a process, or a container of the local engine."""
