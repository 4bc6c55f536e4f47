"""All modules that say what opcodes do: importing them enters it."""

from . import arithmetic as arithmetic
from . import bulk as bulk
from . import copies as copies
from . import loads as loads
from . import matrices as matrices
from . import warp_groups as warp_groups
