"""Calls every kernel once, on tiny inputs, with every type it is used with."""

from __future__ import annotations

import numpy as np

from prover.argument.kernels.interface import Kernels, Runs
from verifier.argument.field import ONE, K

LAM = K((3, 1, 2))


def warm_up(kernels: Kernels) -> None:
    """Run all operations of `kernels`."""
    small, words = np.arange(64, dtype=np.int32).reshape(2, 32), np.arange(64, dtype=np.uint64).reshape(2, 32)
    table, short = kernels.product_table([(ONE, LAM)] * 4, ONE), kernels.product_table([(ONE, LAM)], ONE)
    for cells in (kernels.upload(small), kernels.upload(words)):
        codeword = kernels.encode(cells, np.ones((2, 1), np.uint64), 6)
        kernels.hash_columns([codeword], 0, None)
        kernels.fold_rows(cells, [ONE, LAM])
        kernels.bind_columns(cells, 0, 32, table)
        kernels.bind_columns(cells, 0, 32, short)
    kernels.histogram(small, 0, 64, np.zeros(65536, np.int64))
    # long enough for a strided pass
    kernels.power_sums([5], [LAM], 13, 8)
    kernels.add_into(table, 0, short)
    kernels.axpy(table, LAM, short)
    kernels.dot(table, short)
    flat = small.reshape(-1)
    for a in (table, flat):
        kernels.product_messages(a, a, 1)
        kernels.product_bind(a, LAM, 1)
    kernels.weighted_messages(table, table, short, table)
    runs = Runs(np.array([0, 40]), np.array([30, 64]), np.array([1, 2]))
    leaves = kernels.cell_leaves(small, runs, LAM)
    layer = kernels.next_layer(kernels.leaf_layer(leaves))
    kernels.gate_messages(layer, LAM, short, short)
    kernels.gate_bind((leaves, 0), LAM, LAM, (table, short))
