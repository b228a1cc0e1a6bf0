"""What operations do to labels: one file for each kind of operation, `RULES` in each: operation -> rule.

A rule takes a `Call`, writes into its ledger what goes together and what must stay, and returns the shadow of what
comes out (a tuple, if several tensors come out). Operations without a rule that work on each element by itself are
known by torch's own tag; any other operation freezes what it touches.
"""

from collections.abc import Callable, Mapping

from prudent.surgery.calls import Call
from prudent.surgery.rules import contraction, convolution, elementwise, movement, normalisation, pieces, recurrent
from prudent.surgery.shadow import Shadow

Rule = Callable[[Call], Shadow | tuple[Shadow, ...]]

RULES: Mapping[str, Rule] = {
    **contraction.RULES,
    **convolution.RULES,
    **elementwise.RULES,
    **movement.RULES,
    **normalisation.RULES,
    **pieces.RULES,
    **recurrent.RULES,
}
"""Operation -> rule."""
