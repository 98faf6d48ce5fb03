"""Names of files: of formats that have many, and of those that upres does not read."""

from __future__ import annotations

RAW_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    *(".3fr", ".erf", ".iiq", ".kdc", ".dcr", ".mef", ".mos", ".mrw", ".raw", ".rwl", ".sr2"),
)

VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".m4v")
"""Of videos that are written."""

OTHER_VIDEOS = (
    *(".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".flv", ".wmv", ".asf"),
    *(".ogv", ".3gp", ".y4m"),
)
"""Of videos that are read, and not written."""

OTHER_VIDEO_HEADS = (
    rb"RIFF.{4}AVI |G.{187}G|.{4}G.{191}G|\0\0\x01\xba|FLV\x01|OggS|YUV4MPEG2 "
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
)
"""How these begin: AVI, MPEG's transport and program streams, FLV, Ogg, Y4M, ASF."""

OTHER_SUFFIXES = (
    *(".svg", ".svgz", ".ai", ".eps", ".wmf", ".emf", ".cdr"),
    *(".psd", ".psb", ".xcf", ".kra", ".ora", ".clip", ".afphoto"),
    *(".ico", ".cur", ".icns", ".tga", ".pcx", ".dds", ".ktx", ".ktx2", ".vtf", ".xbm", ".xpm"),
    *(".jxr", ".wdp", ".hdp", ".djvu", ".djv", ".ras", ".sgi", ".rgb", ".cin", ".dpx", ".fits"),
    *(".heics", ".heifs", ".avifs", ".avci", ".mng", ".jng", ".flif", ".bpg", ".qoi", ".wbmp"),
    *(".fts", ".iff", ".lbm", ".pict", ".pct", ".sct", ".jbig2", ".jb2", ".x3f", ".crw"),
)
"""Of pictures that upres does not read: it says so of those in a folder."""
