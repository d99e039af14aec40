"""The checkout's state folder, settings and registries, for those who speak to images through the fleet alone."""

from __future__ import annotations

from images.workbench import Workbench

__all__ = ["Workbench"]
