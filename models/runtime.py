"""Where a network runs, in which precision, and what happens when a batch does not fit."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from mmretrieval.errors import EncoderUnavailable, OutOfMemory, pick
from models.processor import multiplies_bf16

DEVICE = "MMRETRIEVAL_DEVICE"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# man mallopt: memory above M_MMAP_THRESHOLD goes back to the system with every free(), and is cleared again at the next
# use; a network that allocates the same large tensors for every batch then spends half of its time in the kernel.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = (1 << 30, 32 << 20)  # older releases refuse a threshold above 32 MiB


def device() -> torch.device:
    """The device that encoders run on: the environment's MMRETRIEVAL_DEVICE, else a CUDA GPU, else the processor.

    Raises EncoderUnavailable where the one that is asked for is not there.
    """
    # What is said to run in fp32 does so: cuDNN would round what a convolution reads to 19 bits.
    torch.backends.cudnn.allow_tf32 = False
    asked = os.environ.get(DEVICE, "")
    if not asked:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(asked)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EncoderUnavailable(
            f"{DEVICE}={asked} cannot be used here ({reason}): leave it unset, or name a device such as cpu or cuda:0"
        ) from error
    return found


def precision(settings: Mapping[str, Any], default: str = "fp32", on: torch.device | None = None) -> torch.dtype:
    """The type of numbers a network computes with: `settings["precision"]` or `default`, one of fp32, bf16, fp16.

    A processor without bf16 arithmetic, and any processor asked for fp16, computes in fp32. Raises UnknownName.
    """
    asked = pick(PRECISIONS, str(settings.get("precision", default)), "precision")
    if (on or device()).type != "cpu" or asked == torch.float32:
        return asked
    return asked if asked == torch.bfloat16 and multiplies_bf16() else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """The word for a precision, as specs and cards write it: "fp32", "bf16" or "fp16"."""
    return next(name for name, value in PRECISIONS.items() if value == dtype)


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Inside it, a batch that does not fit into memory raises OutOfMemory in the name of the encoder `name`.

    What the failed batch held on a GPU is given back once the caller has left its own `except`.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not _says_memory(str(error)):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(f"{name}: a batch does not fit into memory ({reason}): use smaller batches") from error


def _says_memory(text: str) -> bool:
    """Whether torch's processor allocator, or a library below it, says that it got no memory."""
    return any(words in text for words in ("DefaultCPUAllocator", "not enough memory", "out of memory", "bad_alloc"))


@functools.cache
def keep_freed_memory() -> bool:
    """Makes glibc keep up to 1 GiB that was freed instead of returning it to the system; whether it agreed.

    For the whole process and once: after it, equal batches reuse their memory. On other C libraries it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    agreed = any(mallopt(M_MMAP_THRESHOLD, most) for most in KEPT_BYTES)
    return agreed and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES[0]))
