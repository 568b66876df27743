"""A look at a pickle before torch reads it: how much it would allocate, and whether it is built to explode.

`torch.load(weights_only=True)` runs no code, but it trusts the sizes that a pickle declares, and a pickle of a
hundred bytes can describe a tuple of 2**100 members, which is hashed when it becomes a key, or call `bytearray(2**40)`,
which it allows. This walks the opcodes and executes none.
"""

import io
import pickletools
import re

from .base import CheckpointError

__all__ = ["inspect_pickle"]

_MOST_OPCODES = 2_000_000
_MOST_MEMBERS = 20_000_000
_MARK = -1
_INTEGERS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1"}
_KEEPS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
# What tensors in dictionaries are made of. torch allows more, of which some allocate whatever they are told.
_ALLOWED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter|parameter_with_state)|_codecs encode"
    r"|torch(\.storage)? \w+Storage|torch (Size|device|bool|bfloat16|(u?int|float|complex)\d\w*)"
    r"|torch\.serialization _get_layout"
)


def inspect_pickle(stream: io.BytesIO, budget: int, where: str) -> None:
    """Walk one pickle to its STOP opcode, leaving the stream behind it.

    Args:
        stream: the bytes; at most what the caller read.
        budget: elements that all of the file's storages may hold together: its size in bytes is generous.
        where: the file, for messages.

    Raises:
        CheckpointError: storages larger than the budget, nested objects beyond any real checkpoint's, or something
            other than tensors, numbers and words.
        ValueError: the bytes are no pickle.
    """
    stack: list[int] = []  # how many objects each entry would unfold to
    memo: dict[int, int] = {}
    recent: list[tuple[str, object]] = []  # the last opcodes that are no memo writes
    declared = 0

    def push(members: int) -> None:
        if members > _MOST_MEMBERS:
            raise CheckpointError(f"{where}: a pickle of nested objects without end, not a checkpoint")
        stack.append(members)

    for count, (op, argument, _) in enumerate(pickletools.genops(stream)):
        if count > _MOST_OPCODES:
            raise CheckpointError(f"{where}: too many objects for a checkpoint")
        if op.name == "GLOBAL" and not _ALLOWED.fullmatch(str(argument)):
            raise CheckpointError(f"{where}: unsupported global {str(argument)[:80]!r}: expected weights and no code")
        if not stack and (op.name in _KEEPS or op.name == "DUP"):
            raise CheckpointError(f"{where}: its pickle keeps something that is not there")
        if op.name == "MARK":
            stack.append(_MARK)
        elif op.name in _KEEPS:
            memo[argument if isinstance(argument, int) else len(memo)] = stack[-1]
        elif op.name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in memo:
                raise CheckpointError(f"{where}: its pickle refers to something that is not there")
            push(memo[argument])
        elif op.name == "DUP":
            push(stack[-1])
        else:
            members = _pop(stack, op, where)
            if op.name in ("BINPERSID", "PERSID"):
                declared += _storage_size(recent, where)
                if declared > budget:
                    raise CheckpointError(f"{where}: its tensors declare more numbers than the file has bytes")
            for _ in op.stack_after:
                push(members + 1)
        if op.name not in _KEEPS:
            recent = [*recent[-2:], (op.name, argument)]


def _pop(stack: list[int], op: pickletools.OpcodeInfo, where: str) -> int:
    members = 0
    before = op.stack_before
    if pickletools.markobject in before:
        while stack and stack[-1] != _MARK:
            members += stack.pop()
        before = before[: before.index(pickletools.markobject) + 1]
    for _ in before:
        if not stack:
            raise CheckpointError(f"{where}: its pickle takes more than it has put")
        members += max(stack.pop(), 0)
    return members


def _storage_size(recent: list[tuple[str, object]], where: str) -> int:
    """The number of elements in torch's ("storage", type, key, location, size[, view]): the last integer."""
    names = [name for name, _ in recent]
    position = -3 if names[-2:] == ["NONE", "TUPLE"] else -2  # the older layout ends the tuple with None
    if names[-1:] != ["TUPLE"] or len(names) < -position or names[position] not in _INTEGERS:
        raise CheckpointError(f"{where}: it holds a storage that is not written as torch writes it")
    size = recent[position][1]
    if not isinstance(size, int) or size < 0:
        raise CheckpointError(f"{where}: it holds a storage of size {size}")
    return size
