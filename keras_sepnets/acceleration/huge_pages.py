"""Memory in huge pages, where Linux grants them on request: steps over large arrays get a few percent faster."""

import contextlib
import os
import sys
from pathlib import Path

WHEN = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # such as "always [madvise] never"
TUNABLES = "GLIBC_TUNABLES"
REQUEST = "glibc.malloc.hugetlb=1"


def huge_page_settings() -> dict[str, str]:
    """Return the environment variables that request huge pages; empty where they would change nothing."""
    try:
        on_request = "[madvise]" in WHEN.read_text(encoding="utf-8")
    except OSError:
        on_request = False
    return {TUNABLES: REQUEST} if on_request and TUNABLES not in os.environ else {}


def restart_with_huge_pages() -> None:
    """Restart this process with huge pages if available: malloc reads its settings only at the start."""
    settings = huge_page_settings()
    if settings and sys.executable:
        with contextlib.suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | settings)
