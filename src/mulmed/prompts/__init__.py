"""Prompts: templates as data, and the one renderer."""

from mulmed.prompts.render import Example, Renderer
from mulmed.prompts.template import Message, Template, load_template

__all__ = ["Example", "Message", "Renderer", "Template", "load_template"]
