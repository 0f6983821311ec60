"""How an object's bytes are stored: raw, or compressed with Zstandard where that saves something. Oids are of the raw bytes.

Every decoder counts: what unfolds to more than it should is refused before it fills memory or the disk. Light: the codec loads
when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from types import ModuleType

LEVEL: Final = 3
_WORTH: Final = 0.95
"""Compressed objects are kept raw unless they shrink to this share."""
_SMALLEST: Final = 128
_SAMPLE: Final = 1 << 20
_BLOCK: Final = 1 << 20
MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""How a Zstandard frame begins (RFC 8878)."""


class Readable(Protocol):
    """What blocks are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""
        ...


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    module: ModuleType = zstd
    return module


def compressed(data: bytes) -> bytes | None:
    """`data` compressed, None where it is not worth it."""
    if len(data) < _SMALLEST:
        return None
    made: bytes = _zstd().compress(data, level=LEVEL)
    return made if len(made) <= _WORTH * len(data) else None


def worth_compressing(sample: bytes) -> bool:
    """Whether the first MiB of a large object says that compressing it pays."""
    return compressed(sample[:_SAMPLE]) is not None


def compress_stream(source: Readable, target: IO[bytes]) -> None:
    """Write what is left in `source` to `target` as one frame, in blocks of 1 MiB."""
    compressor: Any = _zstd().ZstdCompressor(level=LEVEL)
    while block := source.read(_BLOCK):
        target.write(compressor.compress(block))
    target.write(compressor.flush())


def decompressed(data: bytes, size: int) -> bytes:
    """The raw bytes of one frame, `size` of them. Raises HeadwaterError (rule `object-encoding`) for anything else."""
    return b"".join(decompress_blocks(iter([data]), size))


def decompress_blocks(stored: Iterator[bytes], size: int | None) -> Iterator[bytes]:
    """The raw bytes of one frame that comes in blocks: `size` of them, when that is known.

    Raises HeadwaterError (rule `object-encoding`) when it is cut off, goes on behind its end, or unfolds to another length.
    """
    decoder = Decoder(size)
    for block in stored:
        yield from decoder.feed(block)
    decoder.finish()


class Decoder:
    """Unfolds one frame that comes in blocks, for those who are given the blocks. `size` as in `decompress_blocks`."""

    def __init__(self, size: int | None = None) -> None:
        module = _zstd()
        self._error: type[Exception] = module.ZstdError
        self._decoder: Any = module.ZstdDecompressor()
        self._size = size
        self._made = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The raw bytes that this block leads to, at most 1 MiB at a time. Raises as `decompress_blocks`."""
        decoder = self._decoder
        if decoder.eof:
            if block:
                raise _wrong("bytes follow the end of the frame")
            return
        pending = block
        while True:
            try:
                raw: bytes = decoder.decompress(pending, max_length=_BLOCK)
            except self._error:
                raise _wrong("it is no Zstandard frame") from None
            pending = b""
            self._made += len(raw)
            if self._size is not None and self._made > self._size:
                raise _wrong(f"it unfolds to more than {self._size} bytes")
            if raw:
                yield raw
            if decoder.eof or decoder.needs_input:
                break
        if decoder.eof and decoder.unused_data:
            raise _wrong("bytes follow the end of the frame")

    def finish(self) -> None:
        """Say that no block follows. Raises as `decompress_blocks`."""
        if not self._decoder.eof or (self._size is not None and self._made != self._size):
            raise _wrong("it is cut off")


def _wrong(what: str) -> HeadwaterError:
    return HeadwaterError(
        f"a compressed object cannot be decoded: {what}",
        rule="object-encoding",
        fix="store the object again: pull it from a remote, or add the file",
    )
