"""``python -m mulmed.base NAME...`` converts embedded base models ahead of their first use."""

import sys

from mulmed.base.embedded import EMBEDDED, convert_embedded

for name in sys.argv[1:]:
    print(convert_embedded(EMBEDDED[name], print).path)
