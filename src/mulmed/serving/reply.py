"""From what the model writes to what is shown: where it ends, identifiers put back, the policy applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mulmed.prompts import Renderer
from mulmed.safety import Policy, PolicyFilter, Restorer, Vault
from mulmed.serving.text import Trimmed, Until


def headings(renderer: Renderer) -> list[str]:
    """Headings of the template: a model that writes one goes on with the user's next turn, and its own has ended."""
    t = renderer.template
    lines = "\n".join((t.user, t.input, t.assistant)).splitlines()
    return list(dict.fromkeys(line for line in lines if line.startswith("#")))


class Reply:
    """One reply while it streams; the same text whatever the cut.

    Attributes:
        ended: nothing that still comes would be shown.
        actions: what the policy did, without words.

    Args:
        ends: strings of the template at which the model's turn has ended.
        stop: strings at which the client wants it to end, sought in the text with its identifiers.
    """

    def __init__(
        self, ends: Sequence[str], stop: Sequence[str], vault: Vault, policy: Policy, language: str
    ) -> None:
        self._turn = Until(ends)
        self._trimmed = Trimmed()
        self._restorer = Restorer(vault)
        self._stop = Until(stop)
        self._policy = PolicyFilter(policy, language)

    @property
    def ended(self) -> bool:
        return self._turn.hit or self._stop.hit

    @property
    def actions(self) -> Counter[str]:
        return self._policy.actions

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        text = self._trimmed.feed(self._turn.feed(piece))
        return self._policy.feed(self._stop.feed(self._restorer.feed(text)))

    def finish(self) -> str:
        """What is left, and the policy's notes, once the model has ended."""
        text = self._trimmed.feed(self._turn.finish())
        said = self._stop.feed(self._restorer.feed(text) + self._restorer.finish())
        return self._policy.feed(said + self._stop.finish()) + self._policy.finish()


class Continuation:
    """A text that the model goes on with, as it is, up to the client's strings."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = Until(stop)
        self.actions = Counter[str]()
        self.feed = self._stop.feed
        self.finish = self._stop.finish

    @property
    def ended(self) -> bool:
        return self._stop.hit
