"""Base models: embedded ones, local folders, the hub when a recipe names it."""

from mulmed.base.resolve import Base, check_folder, count_parameters, prepare_base, resolve_base

__all__ = ["Base", "check_folder", "count_parameters", "prepare_base", "resolve_base"]
