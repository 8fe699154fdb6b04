"""Counting what a protobuf message will cost before a parser builds it.

Parsers turn two bytes on the wire into an object of a hundred: two gigabytes of empty tensors would take a hundred
gigabytes of memory. The scan walks the wire format (protobuf.dev/programming-guides/encoding) along a message
descriptor, in constant memory, and stops at a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from circuits.errors import FormatError

MAX_DEPTH = 100
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class FieldKind(Protocol):
    """What is used of a protobuf field descriptor."""

    @property
    def message_type(self) -> MessageKind | None:
        """The descriptor of the message that the field holds; None for numbers, strings and bytes."""


class MessageKind(Protocol):
    """What is used of a protobuf message descriptor, such as `onnx.ModelProto.DESCRIPTOR`."""

    @property
    def fields_by_number(self) -> Mapping[int, FieldKind]:
        """The known fields; others are skipped."""


def check_cost(data: memoryview, message: MessageKind, limit: int, what: str) -> None:
    """Refuse `data` if parsing it as `message` would meet more than `limit` fields, or nest deeper than 100.

    The elements of packed repeated numbers are not counted: each takes at most eight times its size on the wire.

    Raises:
        FormatError: too many fields, too deep, or truncated; `what` names the document.
    """
    fields = 0
    stack = [(0, len(data), message)]
    while stack:
        position, stop, kind = stack.pop()
        while position < stop:
            fields += 1
            if fields > limit:
                raise FormatError(
                    f"{what}: more than {limit} fields; a model may have at most 2^18 tensors: is it the right file?"
                )
            tag, position = _varint(data, position, stop, what)
            wire_type = tag & 7
            if wire_type == _VARINT:
                _, position = _varint(data, position, stop, what)
                continue
            if wire_type == _LENGTH:
                length, position = _varint(data, position, stop, what)
            elif wire_type in (_FIXED64, _FIXED32):
                length = 8 if wire_type == _FIXED64 else 4
            else:
                raise FormatError(
                    f"{what}: wire type {wire_type} at byte {position}; the file is damaged, export again"
                )
            if length > stop - position:
                raise FormatError(
                    f"{what}: a field at byte {position} reaches past its end; the file is truncated, fetch it again"
                )
            field = kind.fields_by_number.get(tag >> 3)
            if wire_type == _LENGTH and field is not None and field.message_type is not None:
                stack.append((position + length, stop, kind))
                if len(stack) > MAX_DEPTH:
                    raise FormatError(
                        f"{what}: messages nest deeper than {MAX_DEPTH}; the file is damaged, export again"
                    )
                position, stop, kind = position, position + length, field.message_type
                continue
            position += length


def _varint(data: memoryview, position: int, stop: int, what: str) -> tuple[int, int]:
    """The varint at `position` and the position behind it."""
    if position < stop and data[position] < 0x80:  # almost every one: a scan is a loop over small numbers
        return data[position], position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= stop:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise FormatError(f"{what}: unreadable number at byte {position}; the file is truncated or damaged, fetch it again")
