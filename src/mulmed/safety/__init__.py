"""What stands around the model, never inside it: pure functions, the same whatever the model says.

Before: :func:`red_flags` in what the user writes, and the :func:`emergency_notice` shown before the first token;
:func:`mask` takes identifiers out of the conversation, and :class:`Restorer` puts them back into the reply.
After: :class:`PolicyFilter` answers what a reply must not say unmarked.
Beside both: :mod:`.audit` keeps what was decided, never the words.
"""

from mulmed.safety.audit import AuditRecord, keyed_hash
from mulmed.safety.masking import Masked, Restorer, Vault, mask, restore
from mulmed.safety.notice import Numbers, disclaimer, emergency_notice, label, numbers_of
from mulmed.safety.policy import Policy, PolicyFilter, apply_policy
from mulmed.safety.redflags import RedFlag, red_flags

__all__ = [
    "AuditRecord",
    "Masked",
    "Numbers",
    "Policy",
    "PolicyFilter",
    "RedFlag",
    "Restorer",
    "Vault",
    "apply_policy",
    "disclaimer",
    "emergency_notice",
    "keyed_hash",
    "label",
    "mask",
    "numbers_of",
    "red_flags",
    "restore",
]
