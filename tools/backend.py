"""setuptools' build backend, by which an sdist is made without torch: only a compiler needs that, and `python -m build`
would fetch it, gigabytes with CUDA, for a list of files."""

from setuptools.build_meta import *  # noqa: F403


def get_requires_for_build_sdist(config_settings: dict | None = None) -> list[str]:
    return []
