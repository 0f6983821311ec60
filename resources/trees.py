"""What a scan of folders found: names, packed signatures and digests of their files, and the digest of the whole.

Plain values in the packed form the stat cache keeps them in, so that an unchanged folder is never unpacked. How they are
made and when they are believed is `resources.statcache`'s business. Light: standard library and blake3.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from blake3 import blake3

SIGNATURE_FIELDS = 4
"""64-bit numbers in a signature: size, mtime_ns, ctime_ns, inode."""
DIGEST_BYTES = 32


@dataclass(slots=True)
class FolderState:
    """The files directly in one folder, in order of name: packed names, signatures (four 64-bit numbers each for local
    files), digests (32 bytes each), and `key`, the digest of names and digests."""

    path: str
    names: bytes
    signatures: bytes
    digests: bytes
    key: bytes
    taken: int = 0

    def files(self) -> Iterator[tuple[str, int, str]]:
        """Each file's path, size and oid."""
        prefix = f"{self.path}/" if self.path else ""
        names = unpack_names(self.names)
        sizes = array("q", self.signatures)[:: SIGNATURE_FIELDS if names else 1]
        for index, name in enumerate(names):
            yield prefix + name, sizes[index], "blake3:" + self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex()


@dataclass(slots=True)
class Tree:
    """The state of all files below a folder. Equal `digest`s mean equal paths and contents."""

    folders: list[FolderState] = field(default_factory=list)
    hashed: int = 0
    """Files that had to be read."""

    @property
    def digest(self) -> str:
        """An oid over every folder's path and key. Folders without files do not count."""
        hasher = blake3()
        for folder in self.folders:
            if folder.names:
                hasher.update(folder.path.encode("utf-8", "surrogateescape") + b"\0" + folder.key)
        return "blake3:" + hasher.hexdigest()

    def __len__(self) -> int:
        return sum(len(folder.digests) // DIGEST_BYTES for folder in self.folders)

    def files(self) -> list[tuple[str, int, str]]:
        """Every file's path, size and oid, sorted by path."""
        return sorted(file for folder in self.folders for file in folder.files())


def folder_state(where: str, names: bytes, signatures: bytes, digests: bytes, taken: int) -> FolderState:
    """A folder's state with its key computed."""
    return FolderState(where, names, signatures, digests, content_key(names, digests), taken)


def content_key(names: bytes, digests: bytes) -> bytes:
    """The digest of a folder's names and digests."""
    hasher = blake3(len(names).to_bytes(8, "little"))
    hasher.update(names)
    hasher.update(digests)
    return hasher.digest()


def pack_names(names: list[str]) -> bytes:
    """Names joined by NUL, which no name holds."""
    return "\0".join(names).encode("utf-8", "surrogateescape")


def unpack_names(packed: bytes) -> list[str]:
    """The names again; none for the empty string."""
    return packed.decode("utf-8", "surrogateescape").split("\0") if packed else []
