"""What a file system's refusal means for another try."""

from __future__ import annotations

import errno

from trainer.stores.store import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
LOST = (errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT)


def said(doing: str, error: OSError) -> StoreError:
    """A full disk and a refusal last; a volume that is away may come back."""
    what = f"{doing}: {error.strerror or error}"
    if error.errno in FULL:
        return StoreError(what, "make room there, raise the quota, or keep fewer checkpoints", transient=False)
    if error.errno in CLOSED:
        return StoreError(what, "mount it writable and let this user write there", transient=False)
    if error.errno in LOST:
        return StoreError(what, "is the volume still mounted?")
    return StoreError(what, "", transient=error.errno in (errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENOENT))
