"""Memory in huge pages, where Linux gives them on request: steps over large arrays are some percent faster."""

import contextlib
import os
import sys
from pathlib import Path

WHEN = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # such as "always [madvise] never"
TUNABLES = "GLIBC_TUNABLES"
REQUEST = "glibc.malloc.hugetlb=1"


def huge_page_settings() -> dict[str, str]:
    """Return the environment variables by which a process asks for huge pages; none where they change nothing."""
    try:
        on_request = "[madvise]" in WHEN.read_text()
    except OSError:
        on_request = False
    return {TUNABLES: REQUEST} if on_request and TUNABLES not in os.environ else {}


def restart_with_huge_pages() -> None:
    """Begin this process anew with huge pages, as malloc reads its settings only then; or do nothing."""
    settings = huge_page_settings()
    if settings and sys.executable:
        with contextlib.suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | settings)
