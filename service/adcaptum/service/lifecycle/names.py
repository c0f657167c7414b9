"""The form of the names of models, versions, aliases and presets: they stand in paths of URLs."""

import re
from typing import Final

NAME_RULE: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""The form, as a regular expression."""

NAME: Final = re.compile(NAME_RULE)
