"""A Modelfile: with it, Ollama asks a model exactly as training did.

Ollama does not read the chat template inside a GGUF the way other servers do: it has its own, in the syntax
of Go's text/template (https://pkg.go.dev/text/template), and fills in ``.Messages`` and ``.System``
(https://github.com/ollama/ollama/blob/main/docs/template.md). Neighbouring messages of one role reach it as one.
"""

from __future__ import annotations

import json

from mulmed.prompts import Template
from mulmed.recipe import Decoding

#: Tokens of context to ask Ollama for, at most: a long one costs memory from the first question on.
CONTEXT = 8192


def go_template(template: Template, eos: str) -> str:
    """The layout of ``Template.chat_template`` in Go's syntax.

    The begin-of-text token is not in it: Ollama puts it where the GGUF's ``add_bos_token`` asks for one.
    A system message stands directly before the first question, the place where training has a task's
    instruction. Answers before the first question, which Ollama leaves when it forgets the beginning of a
    long conversation, are left out.

    Args:
        eos: text of the end-of-text token.
    """

    def q(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # JSON's escapes are escapes in a Go string as well

    return "\n".join(
        (
            "{{- $open := false }}",
            "{{- range .Messages }}",
            '{{- if eq .Role "user" }}',
            f"{{{{- if $open }}}}{{{{ {q(template.between_rounds + template.user)} }}}}",
            f"{{{{- else }}}}{{{{ {q(template.preamble + template.user)} }}}}{{{{ $.System }}}}{{{{ end }}}}",
            "{{- $open = true }}",
            f"{{{{- .Content }}}}{{{{ {q(template.assistant)} }}}}",
            '{{- else if and (eq .Role "assistant") $open }}',
            f"{{{{- .Content }}}}{{{{ {q(eos)} }}}}",
            "{{- end }}",
            "{{- end }}",
        )
    )


def modelfile(
    gguf: str,
    template: Template,
    eos: str,
    decoding: Decoding,
    *,
    context: int,
    title: str,
    licence: str,
) -> str:
    """The text of a Modelfile beside the GGUF file called ``gguf``.

    Args:
        eos: text of the end-of-text token.
        decoding: how the model answers; beams and blocked n-grams, which Ollama has not, are left out.
        context: tokens the model can look back over.
        title: what the model is, one line.
        licence: what its licence wants said.
    """
    context = min(context, CONTEXT)
    parameters: dict[str, object] = {
        "stop": json.dumps(eos),
        "num_ctx": context,
        "num_predict": decoding.max_new_tokens,
        "seed": decoding.seed,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        # Ollama's own defaults would cut the choice further, and count repetitions in the last 64 tokens only.
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": decoding.repetition_penalty,
        "repeat_last_n": context,  # -1 would say the same, but newer versions of llama.cpp refuse it
    }
    instructions = dict.fromkeys(
        template.instruct(task, language, "")
        for task, languages in template.instructions.items()
        for language in languages
    )
    return "\n".join(
        (
            f"# {title}. Use: ollama create NAME -f Modelfile",
            f"FROM ./{gguf}",
            "",
            "# The prompt of training; another one gives worse answers.",
            f'TEMPLATE """{go_template(template, eos)}"""',
            "",
            "# Training put a task's instruction directly before the first question. To have Ollama do that, take",
            "# the # off one of these lines (the space at the end of an English one belongs to it):",
            *(f'# SYSTEM """{instruction}"""' for instruction in instructions),
            "",
            "# Decoding as the model was compared with others.",
            *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
            "",
            f'LICENSE """{licence}"""',
            "",
        )
    )
