"""The same proof from other weights: the exact form of zero knowledge.

Fix the verifier's coins. Given a proof made from weights w with randomness R, and other weights w' for which the
statement is true as well, `explain` computes the randomness R' with which the honest prover makes the same messages out
of w'. Explaining back undoes R -> R', so it is a bijection of uniform randomness: under the same coins, proofs from w
and from w' have the same distribution. Roots and sibling digests of hidden oracles are left out: they are hashes of
salted columns that nobody has seen, independent of everything else in the random-oracle model.

Source: protocol.md, sections 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from prover.argument.engine import Witness
from prover.argument.kernels.interface import Cells, Kernels
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.simulator import ProgrammedTranscript, foresee
from tests.zero_knowledge.linear import extended, matching_tails
from tests.zero_knowledge.recording import Message, Randomness, RecordingEngine, ReplayedStream, k_vector
from tests.zero_knowledge.statements import KERNELS, Integers, Matrix, commit
from verifier.argument.field import Words, eq_table, k_add, k_array, k_mul, k_scalar, k_scale, k_sub, lift
from verifier.argument.parameters import Parameters
from verifier.argument.statement import Statement
from verifier.argument.transcript import Kind

HIDDEN_ROOTS = 2  # of the pad oracle and the auxiliary oracle: the first two of a proof


def visible(engine: RecordingEngine) -> list[tuple[Kind, object]]:
    """What a proof shows, without roots and sibling digests of hidden oracles."""
    roots, shown = 0, list[tuple[Kind, object]]()
    for message in engine.messages:
        roots += message.kind is Kind.ROOT
        if message.kind is Kind.ROOT and roots <= HIDDEN_ROOTS:
            continue
        if message.hidden_tree:
            shown.append((message.kind, (message.columns.tobytes(), message.salts)))
        else:
            shown.append((message.kind, message.data))
    return shown


def codeword_columns(data: OracleData, positions: Sequence[int], kernels: Kernels = KERNELS) -> Words:
    """Columns of an oracle at any positions, (positions, words)."""
    return np.concatenate([kernels.columns(word, positions) for word in data.codewords], axis=1)


def other_commitment(
    cells: Integers,
    known: OracleData,
    opened: Iterable[int],
    parameters: Parameters,
    kernels: Kernels = KERNELS,
) -> tuple[Matrix, OracleData]:
    """A commitment to other cells that has the same columns and salts at the opened positions.

    Raises SingularError if more positions were opened than a row has hiding coefficients.
    """
    positions = extended(sorted(set(opened)), parameters.hiding)
    wanted = codeword_columns(known, positions, kernels)
    tails = matching_tails(cells.astype(np.int32), parameters.log_length, positions, wanted, kernels)
    assert known.salts is not None
    return commit(cells, ReplayedStream([tails, known.salts.reshape(-1)]), parameters, kernels)


def explain(
    known: RecordingEngine,
    statement: Statement,
    data: Sequence[OracleData],
    advice: Witness,
    coins: ProgrammedTranscript,
    role: type[RecordingEngine] = RecordingEngine,
    program: ProgramData | None = None,
) -> RecordingEngine:
    """The proof of `known` again, from other commitments (made by `other_commitment`), other advice and, for a
    program, other tensors."""
    seen = foresee(statement, coins)
    eps, kernels = k_scalar(seen.eps), known.kernels

    def attempt(randomness: Randomness | None) -> RecordingEngine:
        stream = None if randomness is None else randomness.stream()
        transcript = coins.rewound()
        return role(statement, transcript, data, advice, stream, kernels=kernels, program=program).run(statement)

    # rho' = A - e X', where A - rho = e X in any run
    engine = attempt(None)
    pads, masks = engine.randomness.pads.copy(), list(engine.masks)
    pads[:, masks] = k_sub(operands(known), k_sub(operands(engine), pads[:, masks]))
    # pad' = wire - value'; two of the values depend on rho'
    engine = attempt(replace(engine.randomness, pads=pads))
    sent = engine.sent
    pads[:, sent] = k_sub(k_vector(known.of_kind(Kind.MASKED)), k_array(engine.values[i] for i in sent))
    # g_P' = pad* - eps pad', r'_P' = pad* - eps r_P', r_P' from the opened columns
    shown = known.of_kind(Kind.VECTOR)[0]
    star = np.ascontiguousarray(np.frombuffer(shown.data, "<u8").reshape(-1, 3).T)
    code, pad_data = known.pad_code, known.data[id(known.pad_oracle)]
    positions = extended(seen.pad_positions, code.hiding)
    pad_tail = matching_tails(
        pads, code.log_length, positions, codeword_columns(pad_data, positions, kernels)[:, :3], kernels
    )
    stars = k_sub(star, k_mul(eps, np.concatenate([pads, pad_tail], axis=1)))
    # tails' of the advice from the opened columns, g' = y* - eps y'
    tails = known.randomness.tails
    rows = engine.auxiliary.rows
    if rows:
        positions = extended(seen.positions, engine.parameters.hiding)
        wanted = codeword_columns(known.data[id(known.auxiliary)], positions, kernels)[:, :rows]
        tails = matching_tails(engine.cells(engine.auxiliary), engine.parameters.log_length, positions, wanted, kernels)
    old = folded(known, known.randomness.tails, eq_table(seen.point))
    new = folded(engine, tails, eq_table(seen.point))
    mask = k_add(known.randomness.mask, k_mul(eps, k_sub(old, new)))
    return attempt(
        replace(
            known.randomness,
            pads=pads,
            pad_tail=pad_tail,
            pad_mask=stars[:, : code.pads],
            pad_mask_tail=stars[:, code.pads :],
            mask=mask,
            tails=tails,
        )
    )


def operands(engine: RecordingEngine) -> Words:
    """A_a, in clear, (3, operands)."""
    messages: list[Message] = engine.of_kind(Kind.CLEAR)
    return k_vector(messages[engine.clear_before :][: len(engine.masks)])


def folded(engine: RecordingEngine, advice_tails: Words, weights: Words) -> Words:
    """y = sum_i weights_i (u_i || tau_i), (3, message)."""
    total = np.zeros((3, engine.parameters.message), np.uint64)
    for oracle in engine.level0:
        data = engine.data[id(oracle)]
        if data.cells is None:
            continue
        tails = advice_tails if oracle is engine.auxiliary else data.tails
        rows = np.concatenate([as_field(data.cells), np.asarray(tails)], axis=1)
        for i in range(oracle.rows):
            total = k_add(total, k_scale(weights[:, oracle.start_row + i, None], rows[i]))
    return total


def as_field(cells: Cells) -> Words:
    array = np.asarray(cells)
    return array if array.dtype == np.uint64 else lift(array)
