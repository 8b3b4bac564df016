"""Read the lines of a text file, compressed or not; what cannot be read is refused with its line and cause."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path


def read_lines(file: Path) -> Iterator[str]:
    """Yield the lines of a file in UTF-8 with their ends; one whose name ends in .gz is decompressed.

    Raise ValueError that names the file and the line if it is not UTF-8, or if it is no complete gzip file.
    """
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise ValueError(
                f"{file}, line {number}: invalid UTF8 (byte {byte:#04x}); save the file in the encoding UTF-8"
            ) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{file} cannot be read as gzip ({error}); compress it again") from error
