"""This machine: its Docker Engine, or plain processes when there is none. Nothing is rented, everything is the same."""
