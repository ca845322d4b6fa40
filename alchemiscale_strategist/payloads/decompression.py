"""From submitted bytes to JSON: one layer of compression at most."""

from __future__ import annotations

import zlib

from alchemiscale_strategist.errors import MissingDependencyError
from alchemiscale_strategist.payloads.errors import WHOLE, RefusalReason, RejectedPayloadError, refusal, too_large
from alchemiscale_strategist.payloads.limits import PayloadLimits

__all__ = ["decompressed"]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
# What RFC 8878 asks decoders to support. The window is allocated on the word of the frame's header.
_LARGEST_WINDOW = 8 * 2**20
# Every 4 bytes of zstd may give 128 KiB and its reader takes no limit on its output, so it gets little at a time.
_ZSTD_STEP = 16


def decompressed(content: bytes, limits: PayloadLimits) -> bytes:
    """Bytes as they are, or what the one zstd frame or gzip member that they are contains."""
    if content.startswith(_ZSTD_MAGIC):
        decompress = _from_zstd
    elif content.startswith(_GZIP_MAGIC):
        decompress = _from_gzip
    else:
        return content
    if len(content) > limits.max_compressed_bytes:
        raise too_large(limits.max_compressed_bytes, "compressed bytes")
    return decompress(content, limits.max_json_bytes)


def _from_zstd(content: bytes, most: int) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 - an optional package, loaded when it is first needed
    except ImportError:
        raise MissingDependencyError(feature="Reading zstd", package="zstandard", extra="service") from None
    frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
    made = bytearray()
    # The size in the header is no more than a claim: what comes out is counted.
    for start in range(0, len(content), _ZSTD_STEP):
        try:
            made += frame.decompress(content[start : start + _ZSTD_STEP])
        except zstandard.ZstdError as error:
            raise _not_decompressible("zstd", f"is damaged ({error})") from None
        if len(made) > most:
            raise too_large(most)
        if frame.eof:
            if frame.unused_data or start + _ZSTD_STEP < len(content):
                raise _not_decompressible("zstd", "goes on after its first frame")
            return bytes(made)
    raise _not_decompressible("zstd", "is cut off")


def _from_gzip(content: bytes, most: int) -> bytes:
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        made = member.decompress(content, most + 1)
    except zlib.error as error:
        raise _not_decompressible("gzip", f"is damaged ({error})") from None
    if len(made) > most:
        raise too_large(most)
    if not member.eof:
        raise _not_decompressible("gzip", "is cut off")
    if member.unused_data:
        raise _not_decompressible("gzip", "goes on after its first member")
    return made


def _not_decompressible(form: str, found: str) -> RejectedPayloadError:
    return refusal(RefusalReason.NOT_DECOMPRESSIBLE, WHOLE, f"{form} that {found}", f"all of one {form} file")
