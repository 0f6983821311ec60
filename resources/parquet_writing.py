"""How every Parquet file of ours is written: settings pinned, so that the same rows give the same bytes. Light: constants only.

The defaults of the library may change between versions, and with them the bytes; what a version still changes enters the
fingerprint through the recipe's `libraries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ROW_GROUP_ROWS: Final = 131_072
SETTINGS: Final[Mapping[str, Any]] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "dictionary_pagesize_limit": 1 << 20,
    "write_batch_size": 1024,
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
"""Arguments of `pyarrow.parquet.ParquetWriter`."""
