"""The three providers on this machine, to rehearse with: HTTP on loopback, a clock of their own, machines that are
containers or processes. What a simulator invents because it is unknown is labelled so. Imports no client of ours."""
