"""Credentials for S3 from the files that Amazon's own tools share.

obstore itself looks at the environment, a role's web identity, and the machine's or container's
role; for Google and Azure it follows their chains whole. It does not read Amazon's files.
Source: "Shared config and credentials files", AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LASTING = timedelta(minutes=5)
"""How long credentials of a file are used before the file is looked at again: other programs renew
tokens there."""

_ELSEWHERE = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
"""Variables by which obstore finds credentials, before any file."""


def s3_configuration(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Arguments for obstore's store by the files of Amazon's tools; empty if nothing is there."""
    found: dict[str, Any] = {}
    profile = environment.get("AWS_PROFILE", "default")
    settings = _section(_file(environment, "AWS_CONFIG_FILE", "config"), profile, "profile ")
    if not any(environment.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        if "region" in settings:
            found["region"] = settings["region"]
    elif not environment.get("AWS_REGION"):
        found["region"] = environment["AWS_DEFAULT_REGION"]
    if environment.get("AWS_ENDPOINT_URL_S3"):
        found["endpoint"] = environment["AWS_ENDPOINT_URL_S3"]
    elif "endpoint_url" in settings and not environment.get("AWS_ENDPOINT_URL"):
        found["endpoint"] = settings["endpoint_url"]
    if any(environment.get(name) for name in _ELSEWHERE):
        return found
    read = _reader(environment, profile)
    if read() is not None:
        found["credential_provider"] = read
    return found


def _reader(environment: Mapping[str, str], profile: str) -> Callable[[], dict[str, Any] | None]:
    """A function that reads a profile's credentials, as they are at that moment."""

    def read() -> dict[str, Any] | None:
        for name, variable, prefix in (
            ("credentials", "AWS_SHARED_CREDENTIALS_FILE", ""),
            ("config", "AWS_CONFIG_FILE", "profile "),
        ):
            section = _section(_file(environment, variable, name), profile, prefix)
            if "aws_access_key_id" in section and "aws_secret_access_key" in section:
                return {
                    "access_key_id": section["aws_access_key_id"],
                    "secret_access_key": section["aws_secret_access_key"],
                    "token": section.get("aws_session_token"),
                    "expires_at": datetime.now(UTC) + LASTING,
                }
        return None

    return read


def _file(environment: Mapping[str, str], variable: str, name: str) -> Path:
    return Path(environment.get(variable) or Path("~/.aws", name).expanduser())


def _section(path: Path, profile: str, prefix: str) -> Mapping[str, str]:
    """The settings of a profile; its section begins with ``prefix``, but for the default's."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, "utf-8")
    except (OSError, UnicodeError, configparser.Error):
        return {}
    name = profile if profile == "default" else f"{prefix}{profile}"
    return dict(parser[name]) if parser.has_section(name) else {}
