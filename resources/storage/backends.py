"""The object stores behind `resources.storage.remote`: the few calls it needs, each conditional where it must be.

`S3Backend` goes through s3fs for sessions, credentials, retries and multipart uploads, and calls `put_object` itself because
s3fs offers exclusive creation but no `If-Match`. `MemoryBackend` is fsspec's memory file system, for tests. Keys are given
relative to the backend's root. What a path or a set of files is, is decided in `resources.storage.remote`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import fsspec
from blake3 import blake3

from schemas.errors import HeadwaterError

_BLOCK = 1 << 20
_ATTEMPTS = 5
_TOKEN = "headwater-write"
"""The metadata key under which each write leaves a random token, by which it knows its own object again."""
T = TypeVar("T")


class Lost(Exception):
    """A conditional call found another version at the key."""


class Backend(Protocol):
    """Keys are '/'-separated and never empty; versions are opaque strings that change with every write of other bytes."""

    def below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Key, size and version of everything whose key starts with `prefix`."""
        ...

    def children(self, prefix: str) -> tuple[list[tuple[str, int, str]], list[str]]:
        """What lies directly below `prefix` ('' or ending in '/'): files, and the folders' names."""
        ...

    def head(self, key: str) -> tuple[int, str] | None: ...
    def modified(self, key: str) -> int | None: ...
    def get(self, key: str, limit: int | None = None) -> tuple[bytes | None, int, str]:
        """Bytes (None when longer than `limit`), size and version; raises FileNotFoundError."""
        ...

    def put(self, key: str, data: bytes, *, match: str | None = None, absent: bool = False) -> str: ...
    def put_file(self, key: str, source: Path, *, absent: bool = False) -> None: ...
    def delete(self, key: str, *, match: str | None = None) -> None: ...
    def copy(self, key: str, target: str) -> None:
        """The same bytes under another key as well; raises FileNotFoundError."""
        ...

    def fetch(self, key: str, write: Callable[[bytes], object]) -> None: ...
    def open(self, key: str) -> BinaryIO: ...


class S3Backend:
    """One bucket and prefix. Endpoint, region and credentials come from the environment and AWS's own files."""

    def __init__(self, bucket: str, prefix: str, *, kept: Path) -> None:
        """`kept` is a local folder in which it is noted that the server keeps to conditions."""
        import s3fs

        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.fs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=False)
        self._bucket_seen = False
        self._conditions_seen = False
        self._kept = kept

    def below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        for page in self._pages(Prefix=self.prefix + prefix):
            yield from self._files(page)

    def children(self, prefix: str) -> tuple[list[tuple[str, int, str]], list[str]]:
        files: list[tuple[str, int, str]] = []
        folders: list[str] = []
        for page in self._pages(Prefix=self.prefix + prefix, Delimiter="/"):
            files.extend(self._files(page))
            folders.extend(entry["Prefix"][len(self.prefix) + len(prefix) : -1] for entry in page.get("CommonPrefixes", ()))
        return files, folders

    def _pages(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page: dict[str, Any] = self._call("list_objects_v2", **arguments, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _files(self, page: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # consoles make empty objects to show a folder
                yield entry["Key"][len(self.prefix) :], entry["Size"], entry["ETag"]

    def head(self, key: str) -> tuple[int, str] | None:
        found = self._found(key)
        return None if found is None else (found["ContentLength"], found["ETag"])

    def modified(self, key: str) -> int | None:
        found = self._found(key)
        return None if found is None else int(found["LastModified"].timestamp()) * 1_000_000_000

    def _found(self, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call("head_object", Key=self.prefix + key)
        except FileNotFoundError:
            self._see_bucket()
            return None
        return found

    def get(self, key: str, limit: int | None = None) -> tuple[bytes | None, int, str]:
        async def read() -> tuple[bytes | None, int, str]:
            answer = await self.fs._call_s3("get_object", Bucket=self.bucket, Key=self.prefix + key)
            async with answer["Body"] as body:
                size = answer["ContentLength"]
                data = None if limit is not None and size > limit else await body.read()
            if data is not None and len(data) != size:
                raise OSError(f"{key}: the server sent {len(data)} of {size} bytes")
            return data, size, answer["ETag"]

        return self._run(read)

    def put(self, key: str, data: bytes, *, match: str | None = None, absent: bool = False) -> str:
        condition = {"IfMatch": match} if match is not None else {"IfNoneMatch": "*"} if absent else {}
        if condition:
            self._see_conditions()
        return self._put(key, data, condition)

    def _put(self, key: str, data: bytes, condition: dict[str, str]) -> str:
        token = os.urandom(12).hex()
        for attempt in range(_ATTEMPTS):
            try:
                made = self._call("put_object", Key=self.prefix + key, Body=data, Metadata={_TOKEN: token}, **condition)
                return str(made["ETag"])
            except Lost:
                # Somebody was first, or our own request was repeated after its answer had been lost on the way. Equal bytes
                # would not tell: two writers may count from 1 to 2 at the same time, and one of them has to lose.
                found = self._found(key)
                if found is not None and found.get("Metadata", {}).get(_TOKEN) == token:
                    return str(found["ETag"])
                raise
            except _Busy:
                if attempt == _ATTEMPTS - 1:
                    raise Lost from None
        raise Lost

    def put_file(self, key: str, source: Path, *, absent: bool = False) -> None:
        try:
            self._run(lambda: self.fs._put_file(str(source), self._remote(key), mode="create" if absent else "overwrite"))
        except _Busy:
            raise Lost from None

    def delete(self, key: str, *, match: str | None = None) -> None:
        condition = {} if match is None else {"IfMatch": match}
        try:
            self._call("delete_object", Key=self.prefix + key, **condition)
        except FileNotFoundError:
            if match is not None:
                raise Lost from None

    def copy(self, key: str, target: str) -> None:
        # s3fs copies on the server, in parts where the object is too large for one call.
        self._run(lambda: self.fs._cp_file(self._remote(key), self._remote(target)))

    def fetch(self, key: str, write: Callable[[bytes], object]) -> None:
        async def stream() -> None:
            answer = await self.fs._call_s3("get_object", Bucket=self.bucket, Key=self.prefix + key)
            done = 0
            async with answer["Body"] as body:
                while block := await body.read(_BLOCK):
                    write(block)
                    done += len(block)
            if done != answer["ContentLength"]:
                raise OSError(f"{key}: the server sent {done} of {answer['ContentLength']} bytes")

        self._run(stream)

    def open(self, key: str) -> BinaryIO:
        stream: BinaryIO = self._guarded(lambda: self.fs.open(self._remote(key), "rb"))
        return stream

    def _remote(self, key: str) -> str:
        """The key as an s3fs path. s3fs reads `?versionId=` in a name as no part of it and would write another object."""
        path = f"{self.bucket}/{self.prefix}{key}"
        if tuple(self.fs.split_path(path)[:2]) != (self.bucket, self.prefix + key):
            raise HeadwaterError(
                f"{key!r} cannot be kept on S3: its name reads like a version of another object",
                rule="path-s3-version",
                path=key,
                fix="rename the file",
            )
        return path

    def _see_bucket(self) -> None:
        """A missing bucket must not pass for missing files."""
        if not self._bucket_seen:
            try:
                self._call("head_bucket")
            except FileNotFoundError:
                raise _no_bucket(self.bucket) from None
            self._bucket_seen = True

    def _see_conditions(self) -> None:
        """Some servers that speak S3 ignore conditions, and every compare-and-swap would be a plain overwrite: ask once."""
        if self._conditions_seen:
            return
        note = (
            self._kept / f"conditions-{hashlib.sha256(f'{self.fs.s3.meta.endpoint_url} {self.bucket}'.encode()).hexdigest()[:24]}"
        )
        if not note.exists():
            self._probe_conditions()
            with suppress(OSError):
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
        self._conditions_seen = True

    def _probe_conditions(self) -> None:
        key = f".headwater/probe-{os.urandom(8).hex()}"
        self._put(key, b"first", {"IfNoneMatch": "*"})
        try:
            for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"00000000000000000000000000000000"'}):
                try:
                    self._put(key, b"second", condition)
                except Lost:
                    continue
                except OSError as error:
                    if error.errno not in (errno.ENOSYS, errno.EINVAL):
                        raise
                raise HeadwaterError(
                    f"the server of s3://{self.bucket} ignores conditions (If-Match, If-None-Match): edits could be lost",
                    rule="s3-no-conditions",
                    fix="use a server that supports conditional writes, as Amazon S3 and current MinIO do",
                )
        finally:
            self.delete(key)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._guarded(lambda: self.fs.call_s3(method, Bucket=self.bucket, **arguments))

    def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        from fsspec.asyn import sync

        made: T = self._guarded(lambda: sync(self.fs.loop, function))
        return made

    def _guarded(self, call: Callable[[], T]) -> T:
        """Run `call` with the errors of boto and s3fs turned into ours; nothing of a request's headers enters a message."""
        from aiohttp import ClientError as ConnectionBroken
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # type: ignore[import-untyped]  # botocore ships no types

        try:
            return call()
        except NoCredentialsError as error:
            raise HeadwaterError(
                f"no credentials for s3://{self.bucket}",
                rule="s3-credentials",
                fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error
        except (BotoCoreError, ConnectionBroken) as error:
            raise HeadwaterError(
                f"s3://{self.bucket} cannot be reached: {error}",
                rule="s3-unreachable",
                fix="check the network and AWS_ENDPOINT_URL, then run the command again",
            ) from error
        except (ClientError, OSError) as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise _no_bucket(self.bucket) from error
            if code in ("PreconditionFailed", "412"):
                raise Lost from error
            if code in ("ConditionalRequestConflict", "409"):
                raise _Busy from error
            if isinstance(error, ClientError):
                raise OSError(f"s3://{self.bucket}: {code}") from error
            raise


class _Busy(Exception):
    """S3 is in the middle of another conditional write to the key."""


def _code(error: BaseException) -> str:
    """The S3 error code in `error` or the one it was made from."""
    seen: BaseException | None = error
    while seen is not None:
        answer = getattr(seen, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        seen = seen.__cause__
    return ""


def _no_bucket(bucket: str) -> HeadwaterError:
    return HeadwaterError(f"there is no bucket {bucket!r}", rule="s3-bucket", fix="create it, or correct the URL")


_MEMORY_LOCK = threading.RLock()


class MemoryBackend:
    """A folder of fsspec's memory file system, which every thread of the process shares."""

    def __init__(self, root: str) -> None:
        self.fs = fsspec.filesystem("memory")
        self.root = "/" + root.strip("/")

    def _at(self, key: str) -> str:
        return f"{self.root}/{key}"

    def below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        start = len(self.root) + 1
        with _MEMORY_LOCK:
            files = [path for path in self.fs.store if path.startswith(self._at(prefix))]
            found = [(path[start:], self.head(path[start:])) for path in sorted(files)]
        yield from ((key, *stat) for key, stat in found if stat is not None)

    def children(self, prefix: str) -> tuple[list[tuple[str, int, str]], list[str]]:
        everything = list(self.below(prefix))
        folders = {key[len(prefix) :].split("/")[0] for key, _size, _version in everything if "/" in key[len(prefix) :]}
        return [found for found in everything if "/" not in found[0][len(prefix) :]], sorted(folders)

    def head(self, key: str) -> tuple[int, str] | None:
        try:
            data = self.fs.cat_file(self._at(key))
        except (FileNotFoundError, IsADirectoryError):
            return None
        return len(data), blake3(data).hexdigest(8)

    def modified(self, key: str) -> int | None:
        try:
            return int(self.fs.modified(self._at(key)).timestamp() * 1e9)
        except FileNotFoundError:
            return None

    def get(self, key: str, limit: int | None = None) -> tuple[bytes | None, int, str]:
        data: bytes = self.fs.cat_file(self._at(key))
        return (None if limit is not None and len(data) > limit else data), len(data), blake3(data).hexdigest(8)

    def put(self, key: str, data: bytes, *, match: str | None = None, absent: bool = False) -> str:
        with _MEMORY_LOCK:
            found = self.head(key)
            if (absent and found is not None) or (match is not None and (found is None or found[1] != match)):
                raise Lost
            self.fs.pipe_file(self._at(key), data)
        return blake3(data).hexdigest(8)

    def put_file(self, key: str, source: Path, *, absent: bool = False) -> None:
        self.put(key, source.read_bytes(), absent=absent)

    def delete(self, key: str, *, match: str | None = None) -> None:
        with _MEMORY_LOCK:
            found = self.head(key)
            if match is not None and (found is None or found[1] != match):
                raise Lost
            if found is not None:
                self.fs.rm_file(self._at(key))

    def copy(self, key: str, target: str) -> None:
        self.put(target, self.fs.cat_file(self._at(key)))

    def fetch(self, key: str, write: Callable[[bytes], object]) -> None:
        write(self.fs.cat_file(self._at(key)))

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.fs.cat_file(self._at(key)))
