"""The proving role: the engine of the verifier, with data and kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.errors import StatementError
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData, PadData, commit_auxiliary, commit_pads
from prover.argument.program import ProgramData
from prover.argument.randomness import Stream
from verifier.argument.engine import LABEL_LEVEL, Engine, Oracle
from verifier.argument.field import K, Words, k_list, lift
from verifier.argument.parameters import Parameters
from verifier.argument.transcript import Kind, Transcript

Witness = Mapping[str, npt.NDArray[np.int64]]


class FalseStatementError(StatementError):
    """The statement does not hold for these weights: there is nothing to prove."""


class ProvingEngine(Engine):
    """Produces a proof. `witness` holds the advice by region name; `stream` is this attempt's randomness.

    With check=True a relation that does not hold stops the proof at once (FalseStatementError).
    """

    def __init__(
        self,
        parameters: Parameters,
        transcript: Transcript,
        models: Sequence[Oracle],
        pads: int,
        kernels: Kernels,
        model_data: Sequence[OracleData],
        witness: Witness,
        stream: Stream,
        check: bool = True,
    ) -> None:
        super().__init__(parameters, transcript, models, pads)
        from prover.argument.workers import ProverWorkers

        self.kernels = kernels
        self.witness = witness
        self.stream = stream
        self.check = check
        self.data: dict[int, OracleData] = dict(zip(map(id, models), model_data, strict=True))
        self.plain_data: dict[int, OracleData] = {}
        self.program: ProgramData | None = None
        self.pad_data: PadData | None = None
        self.pad_values: list[K] = []
        self.workers = ProverWorkers(self)
        self._parts: list[bytes] = []

    @property
    def proof(self) -> bytes:
        return b"".join(self._parts)

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        assert data is not None and len(data) == size, f"{kind.name}: {size} bytes expected"
        self._parts.append(data)
        self.transcript.absorb(kind, data)
        return data

    def _mask(self, value: K | None, index: int) -> K | None:
        assert value is not None
        return value + self.pad_values[index]

    def _root(self, oracle: Oracle) -> bytes | None:
        if oracle is self.pad_oracle:
            code = self.pad_code
            self.pad_data = commit_pads(
                self.kernels, oracle.label, code.pads, code.hiding, code.log_length, self.stream
            )
            self.pad_values = k_list(self.pad_data.pads)
            data = self.pad_data.data
        else:
            p = self.parameters
            data = commit_auxiliary(
                self.kernels, oracle.label, self._advice_cells(), p.columns, p.hiding, p.log_length, self.stream
            )
        self.data[id(oracle)] = data
        return data.tree.root

    def _advice_cells(self) -> Words:
        """The advice regions laid out in rows, field elements."""
        cells = np.zeros(self.auxiliary.rows << self.parameters.log_columns, np.uint64)
        for region in self.regions:
            values = np.asarray(self.witness[region.name])
            if values.shape != (region.size,):
                raise StatementError(f"advice {region.name} has shape {values.shape}, not ({region.size},)")
            field = values if values.dtype == np.uint64 else lift(values)
            cells[region.address : region.address + region.size] = field
        return cells.reshape(self.auxiliary.rows, self.parameters.columns)

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        data = self.plain_data[oracle.label] if oracle.label >= LABEL_LEVEL else self.data[id(oracle)]
        return data.opening(self.kernels, oracle, positions)

    def _check_honest(self, value: K | None, what: str) -> None:
        if self.check and (value is None or not value.is_zero()):
            raise FalseStatementError(f"{what} of the statement does not hold for these weights")

    def cells(self, oracle: Oracle) -> Any:
        """The cells of a level-0 oracle, (rows, columns)."""
        return self.data[id(oracle)].cells
