"""Fixtures every test may use."""

from __future__ import annotations

from s3_server import s3_endpoint, s3_url

__all__ = ["s3_endpoint", "s3_url"]
