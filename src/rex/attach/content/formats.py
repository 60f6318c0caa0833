"""File formats that libraries read by random access."""

from __future__ import annotations

__all__ = ["is_read_in_parts"]

_EXTENSIONS = frozenset(
    """
    7z apk cbz ear epub iso jar rar tar war whl zip
    doc docm docx indd odg odp ods odt ott pdf pot potx ppt pptm pptx vsdx xls xlsb xlsm xlsx xltx
    accdb arrow db duckdb feather fits gpkg grib2 h5 hdf hdf5 ipc las laz mat mdb nc npz orc parquet
    pmtiles rds sas7bdat shp sqlite sqlite3
    ai avif bmp cr2 dcm dng eps gif heic heif ico j2k jp2 jpeg jpg jxl nef png psd svs tif tiff webp
    aac aiff avi flac flv m4a m4b m4v mka mkv mov mp3 mp4 mpeg mpg ogg ogv opus wav weba webm wma
    wmv
    """.split()  # noqa: SIM905 - easier to read
)
"""Archives; documents; tables, arrays and databases; images; audio and video."""


def is_read_in_parts(name: str) -> bool:
    """Check whether libraries probably read a file of this name by seeking, not as a whole."""
    _, dot, extension = name.rpartition(".")
    return dot == "." and extension.lower() in _EXTENSIONS
