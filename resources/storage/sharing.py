"""Who may read and write what a storage creates: one mode and one group for files and folders that people share.

The umask of whoever runs a command says nothing about a folder that a team shares, so these are set explicitly, before a file or
folder gets its name. Light: standard library only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from schemas.errors import HeadwaterError


@dataclass(frozen=True, slots=True)
class Sharing:
    """`mode` of files that change, such as 0o664 (None leaves modes to the umask), and the group that owns everything."""

    mode: int | None = None
    gid: int | None = None

    @property
    def object_mode(self) -> int | None:
        """The mode of files that never change: nobody may write them."""
        return None if self.mode is None else self.mode & 0o7444

    @property
    def folder_mode(self) -> int | None:
        """The mode of folders: who may read files may enter, and with a group new entries belong to it (setgid)."""
        if self.mode is None:
            return None if self.gid is None else 0o2770
        mode = self.mode & 0o7777
        return mode | (mode & 0o444) >> 2 | 0o300 | (0o2000 if self.gid is not None else 0)

    def give(self, fd: int, mode: int | None) -> None:
        """Give an open file or folder the group and `mode` (None leaves the mode)."""
        if self.gid is not None and os.fstat(fd).st_gid != self.gid:
            os.fchown(fd, -1, self.gid)
        if mode is not None:
            os.fchmod(fd, mode)


def sharing_for(mode: int | None, group: str | None) -> Sharing | None:
    """The sharing that a configuration asks for; None when it asks for nothing.

    Raises HeadwaterError (rules `group-unknown`, `group-not-member`) before anything is written.
    """
    if mode is None and group is None:
        return None
    return Sharing(mode, None if group is None else _gid(group))


def _gid(group: str) -> int:
    try:
        import grp
    except ImportError:
        raise HeadwaterError(
            "groups cannot be given on this system", rule="group-unknown", fix="remove `group` from the configuration"
        ) from None
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        raise HeadwaterError(
            f"there is no group {group!r} on this system", rule="group-unknown", fix="create the group, or correct its name"
        ) from None
    if os.geteuid() != 0 and gid != os.getegid() and gid not in os.getgroups():
        raise HeadwaterError(
            f"you are not a member of the group {group!r}",
            rule="group-not-member",
            fix="have yourself added to the group, then log in again",
        )
    return gid
