"""From the integers that a proof discloses to statistics in real units, by policy and manifest alone.

The integers come in one list: statement by statement, and for each in the order of its graph's outputs
(`circuits.program.Program.published`). Only the statements that disclose are needed to read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from circuits.checks.base import Context, Instance
from circuits.checks.disclosed import Disclosure
from circuits.compiled import MAX_INSTANCES
from circuits.errors import FormatError, PolicyError
from circuits.policy import Policy

Instances = Sequence[tuple[int, Instance]]


def disclosing(policy: Policy, context: Context) -> Instances:
    """The statements of the checks that disclose, with the numbers of their checks; needs no base model.

    Raises PolicyError or StatementError where the policy does not fit the model.
    """
    found: list[tuple[int, Instance]] = []
    for number, check in enumerate(policy.checks):
        if check.discloses:
            found.extend((number, instance) for instance in check.instances(context))
        if len(found) > MAX_INSTANCES:
            raise PolicyError(f"the policy makes more than {MAX_INSTANCES} statements about this model; split it")
    return found


def read_disclosures(policy: Policy, instances: Instances, integers: Sequence[int]) -> list[Disclosure]:
    """What the integers say, in the order of the statements.

    Soundness: the integers must come from an accepted proof about this policy and this model, or from somebody who is
    trusted to have accepted one. What no weights can give is refused, the rest is taken as it is.

    Raises FormatError: there are too few or too many integers, or no weights give them.
    """
    out: list[Disclosure] = []
    offset = 0
    for number, instance in instances:
        cells: dict[str, tuple[int, ...]] = {}
        for what, node in instance.graph.disclosed:
            size = math.prod(node.shape)
            cells[what] = tuple(integers[offset : offset + size])
            if len(cells[what]) < size:
                raise FormatError(f"{len(integers)} values are disclosed, fewer than the policy asks for")
            offset += size
        if cells:
            out.extend(policy.checks[number].read(instance, cells))
    if offset != len(integers):
        raise FormatError(f"{len(integers)} values are disclosed; the policy asks for {offset}")
    return out
