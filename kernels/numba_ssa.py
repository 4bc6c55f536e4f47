"""Static single assignment, as numba reconstructs it, of the blocks that a variable is in.

numba rewrites all blocks of a function for each variable that is assigned twice. One that does not
name the variable stays as it is, unless values of it meet there (a phi node).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from numba.core import ir, ssa

Blocks = dict[int, Any]


def reconstructed(blocks: Blocks) -> Blocks:
    """Return the blocks of a function with each variable assigned once, as ``ssa._run_ssa``."""
    graph = ssa.compute_cfg_from_blocks(blocks)
    frontiers = ssa._iterated_domfronts(graph)
    variables = ssa._CacheListVars()
    named = {label: _names(block) for label, block in blocks.items()}
    for name in ssa._find_defs_violators(blocks, graph):
        own = {label: block for label, block in blocks.items() if name in named[label]}
        own, definitions = ssa._fresh_vars(own, name)
        phis: dict[int, list[Any]] = defaultdict(list)
        states = ssa._make_states(blocks) | {
            "varname": name,
            "defmap": definitions,
            "phimap": phis,
            "cfg": graph,
            "phi_locations": ssa._compute_phi_locations(frontiers, definitions),
        }
        own = ssa._run_block_rewrite(own, states, ssa._FixSSAVars(variables))
        blocks = blocks | own
        for label, nodes in phis.items():
            if nodes:
                blocks[label] = _beginning_with(nodes, blocks[label])
    return blocks


def _names(block: Any) -> set[str]:
    return {variable.name for statement in block.body for variable in statement.list_vars()}


def _beginning_with(nodes: list[Any], block: Any) -> Any:
    result = ir.Block(scope=block.scope, loc=block.loc)
    result.body = nodes + block.body
    return result
